// Sorts n pseudo-random numbers in a heap: calls, comparisons and swaps all over the memory.
const BASE: usize = 65536;

export function pn_alloc(size: i32): i32 {
  return 1024;
}

function get(i: i32): u32 {
  return load<u32>(BASE + (<usize>i << 2));
}

function set(i: i32, value: u32): void {
  store<u32>(BASE + (<usize>i << 2), value);
}

function sift(start: i32, end: i32): void {
  const value = get(start);
  let hole = start;
  for (let child = 2 * hole + 1; child < end; child = 2 * hole + 1) {
    if (child + 1 < end && get(child + 1) > get(child)) child++;
    if (get(child) <= value) break;
    set(hole, get(child));
    hole = child;
  }
  set(hole, value);
}

export function pn_handle(n: i32, unused: i32): i64 {
  let x: u32 = 1;
  for (let i = 0; i < n; i++) {
    x = x * 1664525 + 1013904223;
    set(i, x);
  }
  for (let i = n / 2 - 1; i >= 0; i--) sift(i, n);
  for (let end = n - 1; end > 0; end--) {
    const largest = get(0);
    set(0, get(end));
    set(end, largest);
    sift(0, end);
  }
  return (<i64>get(0) << 32) | <i64>get(n - 1);
}
