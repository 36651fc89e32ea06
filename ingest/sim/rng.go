package sim

import "math/bits"

// rng is splitmix64: eight bytes of state, a few nanoseconds per number, and fixed for ever. The generators of the
// standard library promise their streams but not how IntN or Float64 consume them, and here every byte is a promise.
type rng struct{ s uint64 }

func (r *rng) u64() uint64 {
	r.s += 0x9e3779b97f4a7c15
	return mix(r.s)
}

// mix is splitmix64's finaliser: a bijection in which each input bit changes half of the output bits.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// n is uniform in [0, n); n must be positive. The bias of the multiplication is below n/2^64.
func (r *rng) n(n int) int {
	hi, _ := bits.Mul64(r.u64(), uint64(n))
	return int(hi)
}

// one is true once in k times.
func (r *rng) one(k int) bool { return r.n(k) == 0 }

// chance is true with probability p, in steps of 2^-32.
func (r *rng) chance(p float64) bool {
	return float64(r.u64()>>32) < p*(1<<32)
}

// skewed is in [0, n) with a density that falls as 1/sqrt(x): the square of a uniform number. Activity is spread so:
// many write now and then, a few write a lot, and none of them writes a share of the whole network.
func (r *rng) skewed(n int) int {
	a := r.u64()
	sq, _ := bits.Mul64(a, a)
	hi, _ := bits.Mul64(sq, uint64(n))
	return int(hi)
}

// zipf is in [0, n) with a density that falls about as 1/x (Zipf's law with exponent 1), in whole numbers only: a power
// of two, then a uniform place in it. math.Exp would differ in the last bit between processors.
func (r *rng) zipf(n int) int {
	for {
		j := r.n(bits.Len(uint(n)))
		if x := 1<<j - 1 + r.n(1<<j); x < n {
			return x
		}
	}
}
