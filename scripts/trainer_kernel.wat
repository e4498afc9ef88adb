;; Two loops that training a network spends its time in, for four numbers at once (fixed-width SIMD).
;; Addresses, strides and sizes of memory are in bytes; counts are counts. scripts/assemble.py makes the
;; binaries in book/_static/trainer_core.js from this text: this one, and one in which each product that is
;; added to a sum is a single instruction (f32x4.relaxed_madd).
(module
  (import "page" "memory" (memory 1))

  ;; c = start + a @ b: a (m, k) and b (k, n) lie in any order, as their strides say; c (m, n) lies row by row,
  ;; and each of its rows starts from the n numbers at `start`.
  ;; m must be a multiple of 4 and n one of 8. Eight columns of b at a time are copied to `panel`
  ;; (k times 32 bytes), so that the inner loop reads them in order; it then makes 4 x 8 sums in registers.
  (func (export "multiply")
    (param $a i32) (param $a_down i32) (param $a_right i32)
    (param $b i32) (param $b_down i32) (param $b_right i32)
    (param $start i32) (param $c i32) (param $m i32) (param $k i32) (param $n i32) (param $panel i32)
    (local $column i32) (local $row i32) (local $i i32) (local $from i32) (local $to i32)
    (local $a0 i32) (local $a1 i32) (local $a2 i32) (local $a3 i32)
    (local $x v128) (local $left v128) (local $right v128)
    (local $s0l v128) (local $s0r v128)
    (local $s1l v128) (local $s1r v128)
    (local $s2l v128) (local $s2r v128)
    (local $s3l v128) (local $s3r v128)
    (loop $columns
      ;; the panel
      (local.set $i (i32.const 0))
      (local.set $from (i32.add (local.get $b) (i32.mul (local.get $column) (local.get $b_right))))
      (local.set $to (local.get $panel))
      (loop $copy
        (f32.store offset=0 (local.get $to) (f32.load (local.get $from)))
        (f32.store offset=4 (local.get $to) (f32.load (i32.add (local.get $from) (i32.mul (local.get $b_right) (i32.const 1)))))
        (f32.store offset=8 (local.get $to) (f32.load (i32.add (local.get $from) (i32.mul (local.get $b_right) (i32.const 2)))))
        (f32.store offset=12 (local.get $to) (f32.load (i32.add (local.get $from) (i32.mul (local.get $b_right) (i32.const 3)))))
        (f32.store offset=16 (local.get $to) (f32.load (i32.add (local.get $from) (i32.mul (local.get $b_right) (i32.const 4)))))
        (f32.store offset=20 (local.get $to) (f32.load (i32.add (local.get $from) (i32.mul (local.get $b_right) (i32.const 5)))))
        (f32.store offset=24 (local.get $to) (f32.load (i32.add (local.get $from) (i32.mul (local.get $b_right) (i32.const 6)))))
        (f32.store offset=28 (local.get $to) (f32.load (i32.add (local.get $from) (i32.mul (local.get $b_right) (i32.const 7)))))
        (local.set $from (i32.add (local.get $from) (local.get $b_down)))
        (local.set $to (i32.add (local.get $to) (i32.const 32)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $copy (i32.lt_u (local.get $i) (local.get $k))))
      (local.set $row (i32.const 0))
      (loop $rows
        (local.set $a0 (i32.add (local.get $a) (i32.mul (local.get $row) (local.get $a_down))))
        (local.set $a1 (i32.add (local.get $a0) (local.get $a_down)))
        (local.set $a2 (i32.add (local.get $a1) (local.get $a_down)))
        (local.set $a3 (i32.add (local.get $a2) (local.get $a_down)))
        (local.set $to (i32.add (local.get $start) (i32.shl (local.get $column) (i32.const 2))))
        (local.set $s0l (v128.load (local.get $to)))
        (local.set $s0r (v128.load offset=16 (local.get $to)))
        (local.set $s1l (v128.load (local.get $to)))
        (local.set $s1r (v128.load offset=16 (local.get $to)))
        (local.set $s2l (v128.load (local.get $to)))
        (local.set $s2r (v128.load offset=16 (local.get $to)))
        (local.set $s3l (v128.load (local.get $to)))
        (local.set $s3r (v128.load offset=16 (local.get $to)))
        (local.set $from (local.get $panel))
        (local.set $i (local.get $k))
        (loop $sums
          (local.set $left (v128.load (local.get $from)))
          (local.set $right (v128.load offset=16 (local.get $from)))
          (local.set $x (v128.load32_splat (local.get $a0)))
          (local.set $s0l (f32x4.add (f32x4.mul (local.get $x) (local.get $left)) (local.get $s0l)))
          (local.set $s0r (f32x4.add (f32x4.mul (local.get $x) (local.get $right)) (local.get $s0r)))
          (local.set $x (v128.load32_splat (local.get $a1)))
          (local.set $s1l (f32x4.add (f32x4.mul (local.get $x) (local.get $left)) (local.get $s1l)))
          (local.set $s1r (f32x4.add (f32x4.mul (local.get $x) (local.get $right)) (local.get $s1r)))
          (local.set $x (v128.load32_splat (local.get $a2)))
          (local.set $s2l (f32x4.add (f32x4.mul (local.get $x) (local.get $left)) (local.get $s2l)))
          (local.set $s2r (f32x4.add (f32x4.mul (local.get $x) (local.get $right)) (local.get $s2r)))
          (local.set $x (v128.load32_splat (local.get $a3)))
          (local.set $s3l (f32x4.add (f32x4.mul (local.get $x) (local.get $left)) (local.get $s3l)))
          (local.set $s3r (f32x4.add (f32x4.mul (local.get $x) (local.get $right)) (local.get $s3r)))
          (local.set $a0 (i32.add (local.get $a0) (local.get $a_right)))
          (local.set $a1 (i32.add (local.get $a1) (local.get $a_right)))
          (local.set $a2 (i32.add (local.get $a2) (local.get $a_right)))
          (local.set $a3 (i32.add (local.get $a3) (local.get $a_right)))
          (local.set $from (i32.add (local.get $from) (i32.const 32)))
          (br_if $sums (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
        (local.set $to (i32.add (local.get $c) (i32.shl (i32.add (i32.mul (local.get $row) (local.get $n)) (local.get $column)) (i32.const 2))))
        (v128.store (local.get $to) (local.get $s0l))
        (v128.store offset=16 (local.get $to) (local.get $s0r))
        (local.set $to (i32.add (local.get $to) (i32.shl (local.get $n) (i32.const 2))))
        (v128.store (local.get $to) (local.get $s1l))
        (v128.store offset=16 (local.get $to) (local.get $s1r))
        (local.set $to (i32.add (local.get $to) (i32.shl (local.get $n) (i32.const 2))))
        (v128.store (local.get $to) (local.get $s2l))
        (v128.store offset=16 (local.get $to) (local.get $s2r))
        (local.set $to (i32.add (local.get $to) (i32.shl (local.get $n) (i32.const 2))))
        (v128.store (local.get $to) (local.get $s3l))
        (v128.store offset=16 (local.get $to) (local.get $s3r))
        (local.set $row (i32.add (local.get $row) (i32.const 4)))
        (br_if $rows (i32.lt_u (local.get $row) (local.get $m))))
      (local.set $column (i32.add (local.get $column) (i32.const 8)))
      (br_if $columns (i32.lt_u (local.get $column) (local.get $n)))))

  ;; One step of Adam for `count` weights, a multiple of 4. `rate` is the learning rate over 1 - beta1^step,
  ;; `scale` is 1 / sqrt(1 - beta2^step).
  (func (export "adam")
    (param $weight i32) (param $gradient i32) (param $mean i32) (param $square i32) (param $count i32)
    (param $beta1 f32) (param $beta2 f32) (param $rate f32) (param $scale f32) (param $epsilon f32)
    (local $g v128) (local $v v128) (local $end i32)
    (local.set $end (i32.add (local.get $weight) (i32.shl (local.get $count) (i32.const 2))))
    (loop $weights
      (local.set $g (v128.load (local.get $gradient)))
      (v128.store (local.get $mean)
        (f32x4.add
          (f32x4.mul (f32x4.splat (local.get $beta1)) (v128.load (local.get $mean)))
          (f32x4.mul (f32x4.splat (f32.sub (f32.const 1) (local.get $beta1))) (local.get $g))))
      (v128.store (local.get $square)
        (local.tee $v
          (f32x4.add
            (f32x4.mul (f32x4.splat (local.get $beta2)) (v128.load (local.get $square)))
            (f32x4.mul (f32x4.splat (f32.sub (f32.const 1) (local.get $beta2))) (f32x4.mul (local.get $g) (local.get $g))))))
      (v128.store (local.get $weight)
        (f32x4.sub
          (v128.load (local.get $weight))
          (f32x4.div
            (f32x4.mul (f32x4.splat (local.get $rate)) (v128.load (local.get $mean)))
            (f32x4.add (f32x4.mul (f32x4.sqrt (local.get $v)) (f32x4.splat (local.get $scale))) (f32x4.splat (local.get $epsilon))))))
      (local.set $gradient (i32.add (local.get $gradient) (i32.const 16)))
      (local.set $mean (i32.add (local.get $mean) (i32.const 16)))
      (local.set $square (i32.add (local.get $square) (i32.const 16)))
      (local.set $weight (i32.add (local.get $weight) (i32.const 16)))
      (br_if $weights (i32.lt_u (local.get $weight) (local.get $end))))))
