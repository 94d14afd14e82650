// How long points of an n × n grid stay near: a short loop of doubles with a branch out of it.
export function pn_alloc(size: i32): i32 {
  return 1024;
}

export function pn_handle(n: i32, unused: i32): i64 {
  let sum: i64 = 0;
  for (let row = 0; row < n; row++) {
    for (let column = 0; column < n; column++) {
      const cx: f64 = (3.0 * column) / n - 2.0;
      const cy: f64 = (2.0 * row) / n - 1.0;
      let x: f64 = 0;
      let y: f64 = 0;
      let steps = 0;
      while (steps < 100 && x * x + y * y < 4.0) {
        const next = x * x - y * y + cx;
        y = 2.0 * x * y + cy;
        x = next;
        steps++;
      }
      sum += steps;
    }
  }
  return sum;
}
