// Package extract finds the links of a record straight from its bytes, DAG-CBOR or JSON. A record is read in two
// passes. The first checks the encoding and writes a tape of the normalised links and of the objects, arrays and keys
// around them. The second walks the tape and builds the paths. So both encodings share all rules about links, a
// malformed record gives no link, and the time is linear in the size of the record: the "$type" of an array element,
// which is part of the path of its links, may be the last member of the element.
package extract

import (
	"errors"
	"fmt"
	"unsafe"

	"weft.dev/weft/ingest/jsonscan"
)

// Limits bounds the memory and the links of one record. Zero or less means the default.
type Limits struct {
	// MaxDepth is the depth to which objects and arrays may nest; the record itself has depth 1. The default is 64.
	// Real records stay below 20. Values above 1000 mean 1000, since reading recurses to this depth.
	MaxDepth int
	// MaxBytes bounds the memory that the links of one record take, in bytes: each link takes its target and linkCost,
	// and each distinct path takes its length and linkCost. The default is 16 MiB. A record of 1 MB has 250,000 links
	// at most, which take 5 MB with their targets; only long paths that differ from link to link come near the bound,
	// hundreds of bytes for a link of ten.
	MaxBytes int
	// MaxPath is the length of a path in bytes, without the leading dot; default 512. The longest path seen in real
	// records has 311 bytes.
	MaxPath int
}

const (
	defaultDepth = 64
	ceilingDepth = 1000
	defaultBytes = 16 << 20
	defaultPath  = 512

	// linkCost is the memory that a link or a path takes beside its text, in bytes: ids and lengths in the index.
	linkCost = 16

	// maxTape bounds the tape, in tokens of 12 bytes. A record of 1 MB has at most 1.9 million tokens, if it has links
	// of 4 bytes, each in 60 arrays of one byte that begin and end.
	maxTape = 1 << 21
)

// maxRecord is the longest record in bytes. Repositories allow about 1 MiB; this much keeps offsets within 32 bits,
// with room for escapes to triple the length of links.
const maxRecord = 64 << 20

// Link is one link of a record. Both slices are valid until the next call of the Extractor that returned them.
type Link struct {
	// Path is like "facets[].features[app.bsky.richtext.facet#link].uri": without a leading dot, valid UTF-8, no NUL.
	Path []byte
	// Target is normalised by package link.
	Target []byte
}

// Dropped counts parts of well-formed records that gave no link.
type Dropped struct {
	Deep     uint64 // objects and arrays, with all in them, that were nested too deep
	Links    uint64 // links beyond the budget of one record
	LongPath uint64 // links whose path was too long
	BadPath  uint64 // links under a key, or in an element with a $type, that isn't valid UTF-8 or has a NUL
	BadText  uint64 // strings that aren't valid UTF-8 (in JSON also those with half a surrogate pair)
}

// Malformed is the error of a record that can't be read to its end.
type Malformed struct {
	Reason string // a fixed text, with no part of the record in it
	Offset int    // in the record, in bytes
}

func (e *Malformed) Error() string {
	return fmt.Sprintf("extract: malformed record: %s at byte %d", e.Reason, e.Offset)
}

// Extractor finds links. It keeps its buffers between records, so that in the long run it doesn't allocate. It isn't
// safe for concurrent use.
type Extractor struct {
	limits   Limits
	dropped  Dropped
	in       []byte // the record
	tape     []token
	targets  []byte // the text of the links on the tape
	scratch  []byte // a string without its escapes
	json     jsonscan.Scanner
	frames   []frame  // the objects and arrays around that of the walk
	path     []byte   // of the walk, with its leading dot
	pathText []byte   // of the paths of links
	paths    [][]byte // the paths of links, each once
	links    []Link
	spent    int  // of limits.MaxBytes
	cut      bool // links beyond the budget are left out; else the walk ends there
	byPath   set  // finds a path among paths
	byLink   set  // finds a link among links
}

// New returns an Extractor.
func New(limits Limits) *Extractor {
	orDefault := func(n *int, value int) {
		if *n <= 0 {
			*n = value
		}
	}
	orDefault(&limits.MaxDepth, defaultDepth)
	orDefault(&limits.MaxBytes, defaultBytes)
	orDefault(&limits.MaxPath, defaultPath)
	limits.MaxDepth = min(limits.MaxDepth, ceilingDepth)
	return &Extractor{limits: limits, byPath: newSet(), byLink: newSet()}
}

// Dropped returns the counts since New.
func (x *Extractor) Dropped() Dropped { return x.dropped }

// CBOR returns the links of a record in DAG-CBOR, each once, in the order of their first occurrence. If they take more
// than Limits.MaxBytes, it returns the links that fit, in the order of the keys, and counts the others. The error is a
// *Malformed if record isn't one map, with no byte after it. Lengths must be definite, keys text, and tags 42. CBOR
// doesn't check that keys are sorted and unique and that numbers have their shortest form: programs that verify
// repositories do. Every occurrence of a repeated key counts.
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
	x.json.Reset(record)
	defer func() { x.in = nil; x.json.Text = nil }()
	before := x.dropped
	err := read(x)
	if err == nil && len(x.tape) > maxTape {
		err = &Malformed{"too much on the way to links", 0}
	}
	if err != nil {
		x.dropped = before
		return nil, malformed(err)
	}
	before = x.dropped
	if x.walk() {
		return x.links, nil
	}
	x.dropped = before
	x.tape = x.canonical()
	x.resetLinks()
	x.cut = true
	x.walk()
	return x.links, nil
}

// malformed returns a syntax error of JSON as a *Malformed, and all other errors as they are.
func malformed(err error) error {
	var syntax *jsonscan.SyntaxError
	if errors.As(err, &syntax) {
		return &Malformed{syntax.Reason, syntax.Offset}
	}
	return err
}

// maxKept is the largest buffer that is kept for the next record, in bytes. Most records need some kilobytes, and a
// larger record must not pin its memory for ever.
const maxKept = 1 << 20

func (x *Extractor) reset() {
	x.tape = empty(x.tape)
	x.targets = empty(x.targets)
	x.scratch = empty(x.scratch)
	x.frames = empty(x.frames)
	x.path = empty(x.path)
	x.resetLinks()
}

// resetLinks drops the links of a walk.
func (x *Extractor) resetLinks() {
	x.pathText = empty(x.pathText)
	clear(x.paths) // their text pins outgrown buffers
	x.paths = empty(x.paths)
	x.links = empty(x.links)
	x.spent = 0
	x.cut = false
	x.byPath.reset()
	x.byLink.reset()
}

// empty returns s without its elements, or nil if it is larger than maxKept.
func empty[T any](s []T) []T {
	var element T
	if uintptr(cap(s))*unsafe.Sizeof(element) > maxKept {
		return nil
	}
	return s[:0]
}
