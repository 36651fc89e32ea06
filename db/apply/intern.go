package apply

import (
	"strings"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
)

// actor looks up an account.
func (f *Applier) actor(did string) (uint64, bool) {
	if id := f.d.prefetched.account(did); id != 0 {
		return id, true
	}
	f.val = append(append(f.val[:0], 'd'), did...)
	return f.id()
}

// id looks up the name in f.val.
func (f *Applier) id() (uint64, bool) {
	if id, ok := f.history.ids.get(f.val); ok {
		return id, true
	}
	id, ok := f.d.id(f.val)
	if ok {
		f.history.ids.put(f.val, id)
	}
	return id, ok
}

// collection looks up a collection, and enters it if enter is true.
func (f *Applier) collection(nsid string, enter bool) (uint64, bool) {
	if enter {
		return f.intern('c', 0, nsid), true
	}
	f.val = append(append(f.val[:0], 'c'), nsid...)
	return f.id()
}

// intern returns the id of a name, a new one for a new name. kind is one of codec.KindDID, KindCollection and
// KindSource; only a source has a collection.
func (f *Applier) intern(kind byte, collection uint64, name string) uint64 {
	f.setName(kind, collection, name)
	if id, ok := f.id(); ok {
		return id
	}
	return f.enter(kind, collection, name)
}

// setName sets f.val to the key of a name.
func (f *Applier) setName(kind byte, collection uint64, name string) {
	f.val = append(f.val[:0], kind)
	if kind == codec.KindSource {
		f.val = codec.AppendID(f.val, collection)
	}
	f.val = append(f.val, name...)
}

// enterAccount returns the id of a new account. The caller has looked it up and entered no name since.
func (f *Applier) enterAccount(did string) uint64 {
	f.setName(codec.KindDID, 0, did)
	return f.enter(codec.KindDID, 0, did)
}

// enter returns a new id of the name whose key is in f.val.
func (f *Applier) enter(kind byte, collection uint64, name string) uint64 {
	id := f.state.nextID(kind)
	f.d.names[string(f.val)] = id
	f.rows.Names = append(f.rows.Names, logrow.NameRow{Kind: kind, ID: id, Collection: collection,
		Name: strings.Clone(name)})
	return id
}

// target encodes a target, and enters the names in it.
func (f *Applier) target(target string) []byte {
	did, collection, rkey, ok := codec.SplitTarget(target)
	if !ok {
		f.val = codec.AppendTextTarget(f.val[:0], target)
		return f.d.arena.copy(f.val)
	}
	actor, known := f.actor(did)
	if !known {
		actor = f.enterAccount(did)
	}
	nsid := uint64(0)
	if collection != "" {
		nsid = f.intern('c', 0, collection)
	}
	f.val = codec.AppendTarget(f.val[:0], target[0] == 'd', actor, nsid, rkey)
	return f.d.arena.copy(f.val)
}

// nextID returns a new id of a kind of name.
func (s *State) nextID(kind byte) uint64 {
	s.next[kind]++
	return s.next[kind]
}
