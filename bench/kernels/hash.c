/* SHA-256's compression of n blocks: rotations, additions and a table, with nothing else in the loop. */
typedef unsigned int word;

static word constants[64], state[8], schedule[64];

static word rotate(word x, int by) { return x >> by | x << (32 - by); }

/* The kernel's constants are not the standard's: only the work has to be the same. */
static void begin(void) {
  word x = 1;
  for (int i = 0; i < 64; i++) constants[i] = x = x * 1664525u + 1013904223u;
  for (int i = 0; i < 8; i++) state[i] = x = x * 1664525u + 1013904223u;
}

static void compress(word seed) {
  for (int i = 0; i < 16; i++) schedule[i] = seed + (word)i;
  for (int i = 16; i < 64; i++) {
    word a = schedule[i - 15], b = schedule[i - 2];
    schedule[i] = schedule[i - 16] + schedule[i - 7] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) +
                  (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
  }
  word a = state[0], b = state[1], c = state[2], d = state[3];
  word e = state[4], f = state[5], g = state[6], h = state[7];
  for (int i = 0; i < 64; i++) {
    word t = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + constants[i] + schedule[i];
    word u = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t, d = c, c = b, b = a, a = t + u;
  }
  state[0] += a, state[1] += b, state[2] += c, state[3] += d;
  state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

__attribute__((export_name("pn_alloc"))) int pn_alloc(int size) { return 1024; }

__attribute__((export_name("pn_handle"))) long long pn_handle(int n, int unused) {
  begin();
  for (int i = 0; i < n; i++) compress((word)i);
  return (long long)state[0] << 32 | state[4];
}
