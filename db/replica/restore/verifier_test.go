package restore

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"weft.dev/weft/db/replica/config"
)

// TestVerifierWithoutScratch: a scratch directory that can't be made, as on a full disk, is a verification without a
// result. It ends neither the verifier nor the process, and the next one tries again.
func TestVerifierWithoutScratch(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		v := NewVerifier(VerifierConfig{Source: config.Config{Type: "file", Path: file}, Every: time.Hour,
			Scratch: filepath.Join(file, "verify")})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- v.Run(ctx) }()
		for range 2 {
			time.Sleep(time.Hour + time.Second)
			synctest.Wait()
			last := v.Last()
			if last == nil || last.Outcome != Inconclusive || len(last.Faults) != 1 || time.Since(last.EndedAt) > time.Minute {
				t.Fatalf("%+v", last)
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Errorf("it ended with %v", err)
		}
	})
}
