package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"weft.dev/weft/db/dbtest"
)

// stock enables the tests with other projects' programs.
var stock = flag.Bool("stock", false,
	"build Jetstream's server, its network simulator and stock Litestream, as tools/go.mod pins them, and run the tests with them")

// thorough compares every list completely, and runs the tests that onlyThorough leaves out.
var thorough = flag.Bool("thorough", false, "compare all of every list over HTTP, and run all processes: minutes")

// onlyThorough leaves a test out without -thorough, because go test ./... must stay under five minutes on two cores.
// .ci/run has it.
func onlyThorough(t *testing.T) {
	t.Helper()
	if !*thorough {
		t.Skip("left out without -thorough")
	}
}

// depth returns the depth of a comparison over HTTP. By default only one list in five is compared beyond its counts and
// links, because go test ./... must stay under five minutes on two cores.
func depth(page int) dbtest.Depth {
	d := dbtest.Depth{Page: page}
	if !*thorough {
		d.Every = 5
	}
	return d
}

// binDir is the directory of the programs that the tests start.
var binDir string

func TestMain(m *testing.M) {
	var err error
	if binDir, err = os.MkdirTemp("", "weft-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: a directory for the binaries:", err)
		os.Exit(1)
	}
	code := m.Run()
	if err := os.RemoveAll(binDir); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: remove the binaries:", err)
	}
	os.Exit(code)
}

// buildTimeout is several times the build time of the Jetstream server with a cold build cache on two cores.
const buildTimeout = 5 * time.Minute

var buildWeft = sync.OnceValue(func() error { return goBuild("..", "./cmd/weft") })

// goBuild builds commands of the module in dir into binDir.
func goBuild(dir string, packages ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	args := append([]string{"build", "-C", dir, "-o", binDir + string(filepath.Separator)}, packages...)
	out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("go build %v: %w\n%s", packages, err, out)
	}
	return nil
}

// program returns the path of a built command.
func program(name string) string { return filepath.Join(binDir, name) }

// needs skips a test in -short mode, and otherwise builds the programs that it runs. A failed build fails the test: a
// skipped test would prove nothing.
func needs(t *testing.T, builds ...func() error) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs processes for many seconds: left out with -short")
	}
	for _, build := range builds {
		start := time.Now()
		if err := build(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > time.Second {
			t.Logf("built in %s", took.Round(time.Millisecond))
		}
	}
}

// needsStock is needs for a test with other projects' programs, which -stock enables.
func needsStock(t *testing.T, builds ...func() error) {
	t.Helper()
	if !*stock {
		t.Skip("runs Jetstream's server or stock Litestream: -stock")
	}
	needs(t, builds...)
}
