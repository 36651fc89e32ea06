package sim

import "math/bits"

// rng is splitmix64: eight bytes of state, a few nanoseconds per number, and a fixed sequence. The standard library
// fixes the streams of its generators but not their use by IntN or Float64, and here every byte must stay the same.
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

// n returns a uniform number in [0, n); n must be positive. The bias of the multiplication is below n/2^64.
func (r *rng) n(n int) int {
	hi, _ := bits.Mul64(r.u64(), uint64(n))
	return int(hi)
}

// one returns true once in k times.
func (r *rng) one(k int) bool { return r.n(k) == 0 }

// chance returns true with probability p, in steps of 2^-32.
func (r *rng) chance(p float64) bool {
	return float64(r.u64()>>32) < p*(1<<32)
}

// skewed returns a number in [0, n) with a density that falls as 1/sqrt(x): the square of a uniform number. Activity is
// distributed like this: many accounts write rarely, a few write a lot, and none writes a large share.
func (r *rng) skewed(n int) int {
	a := r.u64()
	sq, _ := bits.Mul64(a, a)
	hi, _ := bits.Mul64(sq, uint64(n))
	return int(hi)
}

// zipf returns a number in [0, n) with a density that falls about as 1/x (Zipf's law with exponent 1), in integers
// only: a power of two, then a uniform offset in it. math.Exp differs in the last bit between processors.
func (r *rng) zipf(n int) int {
	for {
		j := r.n(bits.Len(uint(n)))
		if x := 1<<j - 1 + r.n(1<<j); x < n {
			return x
		}
	}
}
