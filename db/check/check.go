// Package check verifies a data directory: it derives everything that the directory holds again, and reports what
// differs. It is above db, because it replays the log as a start does.
package check

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"weft.dev/weft/db"
	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/index"
)

// Options says how much Run looks at.
type Options struct {
	All    bool   // everything; otherwise a sample
	Sample int    // how many records and lists a sample has; 0: 10,000. An index that has no more is checked wholly.
	Seed   uint64 // which sample: the same seed takes the same of an index that has not changed
	// Progress is told now and then what is being checked, and how far; of is 0 where that is not known. Nil: no
	// progress.
	Progress func(what string, done, of int64)
}

// Report is what Run found.
type Report struct {
	All      bool // whether everything was looked at
	Seed     uint64
	Checked  []Checked // what was looked at
	Left     []string  // what was not, and why
	Notes    []string  // what is no problem and may surprise
	Problems []Problem // the first of them
	Total    int64     // problems in all
	Kinds    map[string]int64
}

// Checked counts one kind of thing that was looked at.
type Checked struct {
	What string
	N    int64
	How  string
}

// Problem is one thing that is not as it must be.
type Problem struct {
	Kind string // which of the parts below
	Text string // what is wrong, and where
	Mend string // the way out
}

// The kinds of problems.
const (
	KindDatabase = "weft.db"
	KindManifest = "manifest"
	KindSegment  = "segment"
	KindName     = "name"
	KindLog      = "log"
	KindLink     = "link"
	KindCount    = "count"
	KindBody     = "body"
)

// The ways out.
const (
	mendFile      = "restore the file from the replica with weft restore --segments --force"
	mendFileOrLog = mendFile + ", or remove it: the log is complete, and weft serve rebuilds the index from it"
	mendGone      = "restore the file from the replica with weft restore --segments"
	mendGoneOrLog = mendGone + ", or start weft serve: the log is complete, and it rebuilds the segment from it"
	mendDB        = "restore weft.db from its replica with weft restore --force"
	mendBody      = mendDB + "; or delete all bodies with weft serve --bodies off, and store new ones from the next " +
		"start on"
	mendIndex = "restore weft.db and its segments from the replica with weft restore --force; if that fails too, " +
		"re-index into an empty directory"
)

// maxProblems is how many problems are listed: more have one common cause.
const maxProblems = 20

// defaultSample is read in some seconds, and finds what is wrong with one thing in a thousand.
const defaultSample = 10_000

// Run derives everything that a data directory holds from what it follows from, and reports what doesn't agree, as of one
// moment, also beside the weft that writes it. It changes nothing. The error is for a directory that can't be checked.
func Run(ctx context.Context, dir string, o Options) (*Report, error) {
	if o.Sample <= 0 {
		o.Sample = defaultSample
	}
	s, err := db.OpenReadOnly(dir, false)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	c := &checker{s: s, core: s.Core(), o: o, rand: rand.New(rand.NewPCG(o.Seed, 0)),
		report: &Report{All: o.All, Seed: o.Seed, Kinds: map[string]int64{}}}
	defer c.closeHeld()
	return c.report, c.run(ctx)
}

// checker is a check under way.
type checker struct {
	s      *db.ReadOnly
	core   *index.Core
	o      Options
	rand   *rand.Rand
	report *Report

	pinned      bool          // weft.db is pinned, and held is complete
	held        []heldSegment // the files of the manifest, oldest first
	mendFile    string        // the way out for a segment that is damaged
	mendGone    string        // for one that is missing
	whole       bool          // the segments are as they were written, and without a hole
	actors      uint64        // the newest id of each kind of name
	collections uint64
	sources     []uint64 // the collection of each source, by its id; 0: there is no such source

	bodiesOn   bool
	bodiesFrom uint64 // of log rows behind this one the bodies are there that their records have
	current    int64  // of these, those met so far

	// the links of large records, by their keys: each of their links asks for all
	large      map[string][]codec.RecordLink
	largeBytes int

	steps        int64 // of the part at hand
	lastProgress time.Time
}

func (c *checker) run(ctx context.Context) error {
	for _, part := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"the manifest", c.hold},
		{"weft.db", c.database},
		{"the checksums", c.checksums},
		{"the segments", c.segments},
		{"the log", c.log},
		{"the names", c.names},
		{"the bodies", c.bodies},
		{"the index", c.index},
	} {
		c.steps = 0
		if err := part.do(ctx); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if db.IsDiskFull(err) {
				return fmt.Errorf("db: check %s: the disk of %s or of the temporary files (%s) is full, which is no "+
					"fault of the "+
					"data: free space and check again: %w",
					part.name, c.core.Dir, os.TempDir(), err)
			}
			// What can't be read is damaged; the parts that don't need it are checked all the same.
			c.found(KindDatabase, "restore the named file from the replica, and check again", "%s: %v", part.name, err)
			c.report.Left = append(c.report.Left, "the rest of "+part.name)
		}
	}
	return nil
}

// found reports a problem. Its arguments are formatted only where it is among the first, so that they may look up
// names.
func (c *checker) found(kind, mend, format string, args ...any) {
	c.report.Total++
	c.report.Kinds[kind]++
	if len(c.report.Problems) < maxProblems {
		c.report.Problems = append(c.report.Problems, Problem{kind, fmt.Sprintf(format, args...), mend})
	}
}

// checked reports what was looked at.
func (c *checker) checked(what string, n int64, how string) {
	c.report.Checked = append(c.report.Checked, Checked{what, n, how})
}

// step counts one thing looked at, and now and then reports progress.
func (c *checker) step(ctx context.Context, what string, of int64) error {
	c.steps++
	if c.steps%1024 != 0 {
		return nil
	}
	if now := time.Now(); c.o.Progress != nil && now.Sub(c.lastProgress) >= time.Second {
		c.lastProgress = now
		c.o.Progress(what, c.steps, of)
	}
	return ctx.Err()
}

// begin says what begins.
func (c *checker) begin(what string) {
	c.steps = 0
	if c.o.Progress != nil {
		c.lastProgress = time.Now()
		c.o.Progress(what, 0, 0)
	}
}
