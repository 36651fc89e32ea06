package link

import (
	"testing"
	"time"
)

func TestTID(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name, in string
		want     uint64
		ok       bool
	}{
		{"zero", "2222222222222", 0, true},
		{"one", "2222222222223", 1, true},
		{"topmost bit of 64", "c222222222222", 1 << 63, true},
		{"greatest", "jzzzzzzzzzzzz", 1<<64 - 1, true},
		{"topmost bit of 65", "k222222222222", 0, false},
		{"short", "222222222222", 0, false},
		{"long", "22222222222222", 0, false},
		{"zero digit", "2222222222220", 0, false},
		{"capital", "222222222222A", 0, false},
		{"empty", "", 0, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			got, ok := ParseTID(x.in)
			if got != x.want || ok != x.ok {
				t.Fatalf("ParseTID(%q) = %d, %v; want %d, %v", x.in, got, ok, x.want, x.ok)
			}
			if back := AppendTID(nil, got); ok && string(back) != x.in {
				t.Errorf("AppendTID(%d) = %q, want %q", got, back, x.in)
			}
		})
	}
}

// TestParseTIDAllocates checks that record keys of another length, which are common, cost no allocation.
func TestParseTIDAllocates(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { ParseTID("self") }); n != 0 {
		t.Errorf("ParseTID of a key that is no TID allocates %v times", n)
	}
}

func TestTIDTime(t *testing.T) {
	t.Parallel()
	tid, ok := ParseTID("3mmoojpisg2g2")
	if !ok {
		t.Fatal("not a TID")
	}
	if got := time.UnixMicro(TIDTimeUS(tid)).UTC().Format("2006-01-02T15:04"); got != "2026-05-25T14:23" {
		t.Errorf("time is %s", got)
	}
	if got := TIDTimeUS(1<<64 - 1); got != 1<<54-1 {
		t.Errorf("TIDTimeUS of the greatest TID = %d", got)
	}
}

func FuzzTID(f *testing.F) {
	f.Add("3mmoojpisg2g2")
	f.Add("kjzfcijpj2z2a")
	f.Fuzz(func(t *testing.T, in string) {
		tid, ok := ParseTID(in)
		if !ok {
			return
		}
		if back := AppendTID([]byte("x"), tid); string(back) != "x"+in {
			t.Errorf("ParseTID(%q) = %d, which is written %q", in, tid, back)
		}
	})
}
