package apply

// Buffers is the memory of the changes of a commit, for the next one.
type Buffers struct {
	rows  Rows
	delta *delta // empty; nil: none
}

// Buffers returns the memory of changes that are committed. The applier must not be used afterwards.
func (f *Applier) Buffers() Buffers {
	f.d.empty()
	return Buffers{f.rows.emptied(), f.d}
}

// Reuse takes over the memory of earlier changes, before the first event.
func (f *Applier) Reuse(b Buffers) {
	f.rows = b.rows
	if b.delta != nil {
		b.delta.base = f.d.base
		f.d = b.delta
	}
}

// arena makes small slices in shared allocations. An event makes some five slices of some ten to forty bytes: with an
// allocation for each, they were half of all allocations (a profile of bench/storage with ten million links).
type arena struct {
	room []byte
}

const (
	// arenaBytes is the size of an allocation: some 1,800 keys of links.
	arenaBytes = 64 << 10
	// arenaMost is the size above which a slice has an allocation of its own, in bytes.
	arenaMost = 4 << 10
)

// copy returns a copy of b, or nil where b is empty. It keeps the allocation, up to arenaBytes, in memory.
func (a *arena) copy(b []byte) []byte {
	switch {
	case len(b) == 0:
		return nil
	case len(b) > arenaMost:
		return append(make([]byte, 0, len(b)), b...)
	case cap(a.room)-len(a.room) < len(b):
		a.room = make([]byte, 0, arenaBytes)
	}
	at := len(a.room)
	a.room = append(a.room, b...)
	return a.room[at:len(a.room):len(a.room)]
}
