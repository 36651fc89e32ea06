// Package extract finds the links of a record straight from its bytes, DAG-CBOR or JSON.
//
// A record is read in two passes. The first checks the encoding and notes on a tape only what leads to a link: the
// objects, arrays and keys on the way, and the normalised links themselves. The second walks the tape and builds the
// paths. So the two encodings share all rules about links, a malformed record gives none, and the time is linear in the
// record's size, whatever it holds: the "$type" of an array element, which is part of the path of all links in the
// element, may stand at the end of it.
package extract

import (
	"fmt"
	"unsafe"
)

// Limits bound what one record may cost. Zero or less means the default.
type Limits struct {
	// MaxDepth is how deep objects and arrays may nest, the record itself being 1; default 64. Real records stay below
	// 20. Values above 1000 mean 1000, since reading recurses that deep.
	MaxDepth int
	// MaxLinks is how many links one record may have; default 1000. Real records have a handful, lists of lists a few
	// hundred.
	MaxLinks int
	// MaxPath is the length of a path in bytes, without the leading dot; default 1024. Real paths stay below 200.
	MaxPath int
}

const (
	defaultDepth = 64
	ceilingDepth = 1000
	defaultLinks = 1000
	defaultPath  = 1024
)

// maxRecord is the longest record in bytes. Repositories allow about 1 MiB; this much keeps offsets within 32 bits,
// with room for escapes to triple the length of links.
const maxRecord = 64 << 20

// Link is one link of a record. Both slices are valid until the next call of the Extractor that returned them.
type Link struct {
	Path   []byte // as in "facets[].features[app.bsky.richtext.facet#link].uri": without a leading dot, valid UTF-8, no NUL
	Target []byte // in the normal form of package link
}

// Dropped counts what well-formed records held and no link came of.
type Dropped struct {
	Deep     uint64 // objects and arrays, with all in them, that were nested too deep
	Links    uint64 // links beyond the limit of one record
	LongPath uint64 // links whose path was too long
	BadPath  uint64 // links under a key that isn't valid UTF-8 or has a NUL
	BadText  uint64 // strings that aren't valid UTF-8 (in JSON also those with half a surrogate pair)
}

// Malformed is the error for a record that can't be read to its end.
type Malformed struct {
	Reason string // a fixed text, with no part of the record in it
	Offset int    // in the record, in bytes
}

func (e *Malformed) Error() string {
	return fmt.Sprintf("extract: malformed record: %s at byte %d", e.Reason, e.Offset)
}

// Extractor finds links. It keeps its buffers between records, so that in the long run it doesn't allocate. It is not
// for concurrent use.
type Extractor struct {
	limits  Limits
	dropped Dropped
	in      []byte // the record
	tape    []token
	targets []byte   // the text of the links on the tape
	scratch []byte   // a string without its escapes
	nest    []uint64 // for jsonSkip
	frames  []frame  // the objects and arrays around the one that the walk is in
	path    []byte   // that the walk is at, with its leading dot
	paths   []byte   // the text of the paths of links
	links   []Link
	set     set
}

// New returns an Extractor.
func New(limits Limits) *Extractor {
	orDefault := func(n *int, value int) {
		if *n <= 0 {
			*n = value
		}
	}
	orDefault(&limits.MaxDepth, defaultDepth)
	orDefault(&limits.MaxLinks, defaultLinks)
	orDefault(&limits.MaxPath, defaultPath)
	limits.MaxDepth = min(limits.MaxDepth, ceilingDepth)
	return &Extractor{limits: limits, set: newSet()}
}

// Dropped returns the counts since New.
func (x *Extractor) Dropped() Dropped { return x.dropped }

// CBOR returns the links of a record in DAG-CBOR, each once, in the order of their first occurrence. The error is a
// *Malformed if record isn't one map, whole, with nothing behind it. Lengths must be definite, keys text, and tags 42;
// that keys are sorted and unique and numbers in their shortest form is left to those who verify repositories. Every
// occurrence of a repeated key counts.
func (x *Extractor) CBOR(record []byte) ([]Link, error) {
	return x.run(record, (*Extractor).cborRecord)
}

// JSON is CBOR for a record in JSON. Objects that stand for a CID link or for bytes hold no links.
func (x *Extractor) JSON(record []byte) ([]Link, error) {
	return x.run(record, (*Extractor).jsonRecord)
}

func (x *Extractor) run(record []byte, read func(*Extractor) error) ([]Link, error) {
	if len(record) > maxRecord {
		return nil, &Malformed{"too long", maxRecord}
	}
	x.reset()
	x.in = record
	defer func() { x.in = nil }()
	before := x.dropped
	if err := read(x); err != nil {
		x.dropped = before
		return nil, err
	}
	x.walk()
	return x.links, nil
}

// keep is the largest buffer in bytes that is kept for the next record. Few records need more than some kilobytes; one
// that needed more shouldn't pin the memory for ever.
const keep = 1 << 20

func (x *Extractor) reset() {
	x.tape = empty(x.tape)
	x.targets = empty(x.targets)
	x.scratch = empty(x.scratch)
	x.nest = empty(x.nest)
	x.frames = empty(x.frames)
	x.path = empty(x.path)
	x.paths = empty(x.paths)
	x.links = empty(x.links)
	x.set.reset()
}

// empty returns s without its elements, or nil if it has grown too large to keep.
func empty[T any](s []T) []T {
	var element T
	if uintptr(cap(s))*unsafe.Sizeof(element) > keep {
		return nil
	}
	return s[:0]
}
