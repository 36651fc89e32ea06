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

// stock runs the tests of the programs of others.
var stock = flag.Bool("stock", false, "build Jetstream's server, its network simulator and stock Litestream, as tools/go.mod pins them, and run the tests with them")

// thorough asks every list for everything.
var thorough = flag.Bool("thorough", false, "compare all of every list over HTTP: minutes")

// depth is the depth of a comparison over HTTP. By default one list in five is asked for more than its counts and its links,
// because go test ./... must stay under five minutes on two cores.
func depth(page int) dbtest.Depth {
	d := dbtest.Depth{Page: page}
	if !*thorough {
		d.Every = 5
	}
	return d
}

// binDir holds the programs that the tests start.
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

// buildTimeout is several times what the Jetstream server takes with a cold build cache on two cores.
const buildTimeout = 5 * time.Minute

var buildWeft = sync.OnceValue(func() error { return goBuild("..", "./cmd/weft") })

// buildJetstream builds the versions that tools/go.mod pins. Every requirement is in its go.sum, so that what is built is what
// was reviewed.
var buildJetstream = sync.OnceValue(func() error {
	err := goBuild(filepath.Join("..", "tools"),
		"github.com/bluesky-social/jetstream/cmd/jetstream",
		"github.com/bluesky-social/jetstream/cmd/simulator")
	if err != nil {
		return fmt.Errorf("the Jetstream server and simulator pinned in tools/go.mod can't be built; with no module cache this needs the network: %w", err)
	}
	return nil
})

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

// program is the path of a built command.
func program(name string) string { return filepath.Join(binDir, name) }

// needs skips a test in -short mode, and otherwise builds what it runs. What can't be built is a failure: a test that skips
// itself quietly proves nothing.
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

// needsStock is needs for a test that runs the programs of others, which -stock asks for.
func needsStock(t *testing.T, builds ...func() error) {
	t.Helper()
	if !*stock {
		t.Skip("runs Jetstream's server or stock Litestream: -stock")
	}
	needs(t, builds...)
}
