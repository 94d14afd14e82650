;; Counts up to a million. The state is {"count"}; both messages answer it.
(module
  (memory (export "memory") 2)
  (data (i32.const 0) "\"count\":")
  (data (i32.const 8) "\"amount\":")
  (data (i32.const 32) "{\"error\":{\"code\":\"full\",\"detail\":\"the counter goes up to 1000000\"}}")
  (data (i32.const 256) "{\"reply\":{\"count\":")
  (data (i32.const 288) "},\"state\":{\"count\":")

  ;; The input stands from the second page on; what is allocated is never freed.
  (global $free (mut i32) (i32.const 65536))
  (func (export "pn_alloc") (param $size i32) (result i32)
    (local $ptr i32)
    (local.set $ptr (global.get $free))
    (global.set $free (i32.add (local.get $ptr) (local.get $size)))
    (drop (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))))
    (local.get $ptr))

  ;; The number behind the first place where the key stands; 0 where it does not.
  (func $number (param $key i32) (param $key_length i32) (param $at i32) (param $end i32) (result i64)
    (local $i i32) (local $found i64) (local $digit i32)
    (block $none
      (loop $search
        (br_if $none (i32.gt_u (i32.add (local.get $at) (local.get $key_length)) (local.get $end)))
        (local.set $i (i32.const 0))
        (block $differs
          (loop $compare
            (br_if $differs (i32.ne
              (i32.load8_u (i32.add (local.get $key) (local.get $i)))
              (i32.load8_u (i32.add (local.get $at) (local.get $i)))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $compare (i32.lt_u (local.get $i) (local.get $key_length))))
          (local.set $at (i32.add (local.get $at) (local.get $key_length)))
          (loop $digits
            (local.set $digit (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
            (br_if $none (i32.gt_u (local.get $digit) (i32.const 9)))
            (local.set $found (i64.add
              (i64.mul (local.get $found) (i64.const 10)) (i64.extend_i32_u (local.get $digit))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br $digits)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $search)))
    (local.get $found))

  ;; Both put something at a place and answer the place behind it.
  (func $put (param $at i32) (param $from i32) (param $length i32) (result i32)
    (memory.copy (local.get $at) (local.get $from) (local.get $length))
    (i32.add (local.get $at) (local.get $length)))
  (func $put_number (param $at i32) (param $value i64) (result i32)
    (if (i64.ge_u (local.get $value) (i64.const 10))
      (then (local.set $at (call $put_number (local.get $at) (i64.div_u (local.get $value) (i64.const 10))))))
    (i32.store8 (local.get $at) (i32.wrap_i64 (i64.add (i64.rem_u (local.get $value) (i64.const 10)) (i64.const 48))))
    (i32.add (local.get $at) (i32.const 1)))

  (func (export "pn_handle") (param $ptr i32) (param $length i32) (result i64)
    (local $end i32) (local $count i64) (local $at i32)
    (local.set $end (i32.add (local.get $ptr) (local.get $length)))
    (local.set $count (i64.add
      (call $number (i32.const 0) (i32.const 8) (local.get $ptr) (local.get $end))
      (call $number (i32.const 8) (i32.const 9) (local.get $ptr) (local.get $end))))
    (if (i64.gt_u (local.get $count) (i64.const 1000000))
      (then (return (i64.or (i64.shl (i64.const 32) (i64.const 32)) (i64.const 67)))))
    (local.set $at (call $put (i32.const 1024) (i32.const 256) (i32.const 18)))
    (local.set $at (call $put_number (local.get $at) (local.get $count)))
    (local.set $at (call $put (local.get $at) (i32.const 288) (i32.const 19)))
    (local.set $at (call $put_number (local.get $at) (local.get $count)))
    (i32.store16 (local.get $at) (i32.const 0x7d7d)) ;; }}
    (i64.or (i64.shl (i64.const 1024) (i64.const 32))
      (i64.extend_i32_u (i32.sub (i32.add (local.get $at) (i32.const 2)) (i32.const 1024))))))
