/* Five bodies under gravity, n steps: doubles, square roots and divisions, in arrays. */
#define BODIES 5

typedef struct {
  double x, y, z, vx, vy, vz, mass;
} body;

static body bodies[BODIES];

static void begin(void) {
  for (int i = 0; i < BODIES; i++) {
    double at = i + 1;
    bodies[i] = (body){at, at * 0.5, at * 0.25, 0.1 / at, 0.2 / at, 0.01 * at, i == 0 ? 39.0 : 0.03};
  }
}

static void step(double dt) {
  for (int i = 0; i < BODIES; i++) {
    body *a = &bodies[i];
    for (int j = i + 1; j < BODIES; j++) {
      body *b = &bodies[j];
      double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
      double square = dx * dx + dy * dy + dz * dz + 0.01;
      double force = dt / (square * __builtin_sqrt(square));
      a->vx -= dx * b->mass * force, a->vy -= dy * b->mass * force, a->vz -= dz * b->mass * force;
      b->vx += dx * a->mass * force, b->vy += dy * a->mass * force, b->vz += dz * a->mass * force;
    }
  }
  for (int i = 0; i < BODIES; i++) {
    body *a = &bodies[i];
    a->x += dt * a->vx, a->y += dt * a->vy, a->z += dt * a->vz;
  }
}

__attribute__((export_name("pn_alloc"))) int pn_alloc(int size) { return 1024; }

__attribute__((export_name("pn_handle"))) long long pn_handle(int n, int unused) {
  begin();
  for (int i = 0; i < n; i++) step(0.001);
  return (long long)(bodies[0].x * 1e12);
}
