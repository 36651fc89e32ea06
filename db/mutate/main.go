// Command mutate tests the tests of db: it puts one fault after another into the code and expects a test to fail. Each
// fault names the test that catches it, which runs first and alone, in ./db also in its full size (-thorough). If that
// test passes, all tests of the fault's package run, and then those of all packages that import it. A fault that no
// test catches is a hole in the tests. A test that does not catch its fault, a fault whose place has moved and a fault
// that does not compile end mutate with 1, too.
//
//	go run ./db/mutate            from the root of the module
//	go run ./db/mutate -only seal the faults in whose file or name that occurs
//	go run ./db/mutate -write     writes the tests that caught faults beside them
//	go run ./db/mutate -build     only builds the code with all faults, as .ci/run does: a fault must compile
//
// Building the tests of db takes longer than most of them run. So mutate builds the tests of a package once, with the
// faults of all Go files in them, and an environment variable selects a fault. A fault in a file of SQL has a build of
// its own. The tree itself stays as it is: the go command reads the changed files through its flag -overlay. Don't edit
// the tree until mutate has ended.
//
// 107 faults took two minutes on two quiet cores with a warm build cache, and 121 faults 15 minutes on cores half as
// fast that other programs shared.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// workers is how many faults are tested at a time: many tests wait for the disk, or use one core.
const workers = 2

func main() {
	only := flag.String("only", "", "test the faults in whose file or name this occurs")
	write := flag.Bool("write", false, "write the tests that caught faults into "+strings.Join(faultsFiles, " and "))
	build := flag.Bool("build", false, "only build the code with all faults in Go files")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, options{*only, *write, *build}); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

// result is the outcome of a fault: the test that caught it, or an error.
type result struct {
	fault
	by  string // as fault.test; empty: no test caught it
	err error
}

// problem returns what is wrong with a result; empty: the test that the fault names caught it.
func (r *result) problem() string {
	switch {
	case r.err != nil:
		return r.err.Error()
	case r.by == "":
		return "SURVIVED: no test fails"
	case r.test == "":
		return "names no test; caught by " + r.by
	case r.by != r.test:
		return fmt.Sprintf("%s passes; caught by %s", r.test, r.by)
	}
	return ""
}

// options are the flags.
type options struct {
	only         string
	write, build bool
}

func run(ctx context.Context, o options) error {
	start := time.Now()
	picked := []fault{}
	for _, f := range faults {
		// All places are checked first: an error after minutes comes late.
		if err := f.fits("."); err != nil {
			return err
		}
		if strings.Contains(f.file+" "+f.name, o.only) {
			picked = append(picked, f)
		}
	}
	t, err := newTester(ctx)
	if err != nil {
		return err
	}
	defer os.RemoveAll(t.dir)
	inGo, overlays, err := t.overlays(picked)
	if err != nil {
		return err
	}
	if o.build {
		return t.buildAll(ctx, inGo)
	}
	if err := t.withoutFault(ctx, picked, inGo); err != nil {
		return err
	}
	results := testAll(ctx, t, picked, overlays)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	problems := 0
	for _, r := range results {
		if p := r.problem(); p != "" {
			problems++
			fmt.Printf("%s: %s: %s\n", r.file, r.name, p)
		}
	}
	if o.write {
		for _, file := range faultsFiles {
			if err := writeTests(file, results); err != nil {
				return err
			}
		}
	}
	if problems > 0 {
		return fmt.Errorf("%d of %d faults were not caught by the test that they name", problems, len(picked))
	}
	fmt.Printf("all %d faults were caught by the tests that they name, in %v\n", len(picked),
		time.Since(start).Round(time.Second))
	return nil
}

// testAll tests faults, some at a time, and returns their results in the same order.
func testAll(ctx context.Context, t *tester, picked []fault, overlays []string) []result {
	results := make([]result, len(picked))
	next := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				start := time.Now()
				r := result{fault: picked[i]}
				r.by, r.err = t.try(ctx, overlays[i], i+1, r.fault)
				results[i] = r
				fmt.Fprintf(os.Stderr, "%d of %d: %s: %s: %s (%.0f s)\n", i+1, len(picked), r.file, r.name, outcome(&r),
					time.Since(start).Seconds())
			}
		})
	}
	for i := range picked {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	return results
}

func outcome(r *result) string {
	if p := r.problem(); p != "" {
		return p
	}
	return r.by
}

// fits returns an error unless the old text stands in the fault's file exactly once and the new one is another. root is
// the module's directory.
func (f *fault) fits(root string) error {
	text, err := os.ReadFile(filepath.Join(root, f.file))
	if err != nil {
		return fmt.Errorf("the fault %q: %w", f.name, err)
	}
	if n := strings.Count(string(text), f.old); n != 1 {
		return fmt.Errorf("the fault %q needs a new place: %q stands in %s %d times", f.name, f.old, f.file, n)
	}
	if f.old == f.new {
		return errors.New("the fault " + f.name + " changes nothing")
	}
	return nil
}
