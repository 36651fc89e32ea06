package checkpoint_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"weft.dev/weft/db/checkpoint"
)

func TestParseRule(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, text, want string // want: as the rule writes itself
	}{
		{"the default", "5m | 20000 frames | (1000 frames & 30s)", checkpoint.Default().String()},
		{"off", " off ", "off"},
		{"one duration", "1h30m", "1h30m"},
		{"a whole hour", "60m", "1h"},
		{"a fraction", "1.5h", "1h30m"},
		{"zeroes in the middle", "1h0m5s", "1h0m5s"},
		{"tens stay", "10m0s | 20h0m0s", "10m | 20h"},
		{"below a second", "250ms|3µs", "250ms | 3µs"},
		{"sizes", "16 MB | 16 MiB", "16 MB | 16 MiB"},
		{"no white space", "5m|20000frames|(1000frames&30s)", "5m | 20000 frames | (1000 frames & 30s)"},
		{"white space everywhere", "\t( 5 m\n)|\r\n7  frames ", "5m | 7 frames"},
		{"& binds tighter", "1s | 2s & 3s | 4s", "1s | (2s & 3s) | 4s"},
		{"unless parentheses say otherwise", "(1s | 2s) & 3s", "(1s | 2s) & 3s"},
		{"parentheses that say nothing", "((1s)) | ((2s | (3s)))", "1s | 2s | 3s"},
		{"leading zeroes", "007 frames", "7 frames"},
		{"the longest", strings.Repeat("(", 450) + "1s" + strings.Repeat(")", 450), "1s"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r, err := checkpoint.Parse(tc.text)
			if err != nil || r.String() != tc.want || r.Off() != (tc.want == "off") {
				t.Fatalf("%q gives %q, %v", tc.text, r, err)
			}
			if again, err := checkpoint.Parse(r.String()); err != nil || !reflect.DeepEqual(r, again) {
				t.Errorf("%q gives %q, %v", r, again, err)
			}
		})
	}
}

func TestParseRuleErrors(t *testing.T) {
	t.Parallel()
	const term = `a term such as "20000 frames", "16 MiB" or "5m", or "("`
	for _, tc := range []struct {
		name, text, want string
	}{
		{"nothing", "", "position 1 of the rule: expected " + term + ", found the end"},
		{"only white space", "  ", "position 3 of the rule: expected " + term + ", found the end"},
		{"a word", "never", "position 1 of the rule: expected " + term + `, found "never"`},
		{"no second term", "5m |", "position 5 of the rule: expected " + term + ", found the end"},
		{"two operators", "5m || 1h", "position 5 of the rule: expected " + term + `, found "|"`},
		{"below zero", "-5m", "position 1 of the rule: expected " + term + `, found "-"`},
		{"no operator", "5m 1h", `position 4 of the rule: expected "|", "&" or the end, found "1h"`},
		{"an open parenthesis", "(5m | 1h", `position 9 of the rule: expected "|", "&" or ")", found the end`},
		{"a parenthesis too many", "5m)", `position 3 of the rule: expected "|", "&" or the end, found ")"`},
		{"empty parentheses", "5m & ()", "position 7 of the rule: expected " + term + `, found ")"`},
		{"no unit", "5m | 1000",
			"position 10 of the rule: expected frames, MB, MiB or a unit of time after 1000, found the end"},
		{"no unit before an operator", "1000 | 5m",
			`position 6 of the rule: expected frames, MB, MiB or a unit of time after 1000, found "|"`},
		{"another unit", "5m | 3 days",
			`position 6 of the rule: expected frames, MB, MiB or a duration above zero such as 30s, 5m or 1h30m, found "3"`},
		{"another spelling", "16 mb", `position 1 of the rule: expected frames, MB, MiB or a duration`},
		{"no frames", "0 frames", `position 1 of the rule: expected a whole number from 1 to 2147483647, found "0"`},
		{"half a frame", "1.5 frames",
			`position 1 of the rule: expected a whole number from 1 to 2147483647, found "1.5"`},
		{"too many frames", "1s | 99999999999 frames",
			`position 6 of the rule: expected a whole number from 1 to 2147483647, found "99999999999"`},
		{"no time", "0s", "expected frames, MB, MiB or a duration above zero"},
		{"too long a time", "9999999h", "expected frames, MB, MiB or a duration above zero"},
		{"off among others", "off | 5m", `position 5 of the rule: expected the end after off, found "|"`},
		{"off at the end", "5m | off", "position 6 of the rule: expected " + term + `, found "off"`},
		{"no text", "5m |\x00", "position 5 of the rule: expected " + term + `, found "\x00"`},
		{"not UTF-8", "5m \xff", `position 4 of the rule: expected "|", "&" or the end, found "\xff"`},
		{"too long", strings.Repeat("(", 1001),
			"position 1001 of the rule: expected the end, after at most 1000 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r, err := checkpoint.Parse(tc.text)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%q gives %q, %v", tc.text, r, err)
			}
		})
	}
}

func TestRuleDue(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, text string
		frames     int
		since      time.Duration
		want       bool
	}{
		{"the default, at once", checkpoint.Default().String(), 19_999, 0, false},
		{"the default, many frames", checkpoint.Default().String(), 20_000, 0, true},
		{"the default, some frames", checkpoint.Default().String(), 1000, 29 * time.Second, false},
		{"the default, some frames for long", checkpoint.Default().String(), 1000, 30 * time.Second, true},
		{"the default, few frames for long", checkpoint.Default().String(), 999, 299 * time.Second, false},
		{"the default, few frames for very long", checkpoint.Default().String(), 1, 300 * time.Second, true},
		{"off", "off", 1 << 30, 1000 * time.Hour, false},
		{"16 MiB, below", "16 MiB", 4072, 0, false},
		{"16 MiB", "16 MiB", 4073, 0, true},
		{"16 MB, below", "16 MB", 3883, 0, false},
		{"16 MB", "16 MB", 3884, 0, true},
		{"the largest size", "2147483647 MiB", 1 << 31, 0, false},
		{"a clock that went back", "1s", 5, -time.Hour, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if got := must(checkpoint.Parse(tc.text)).Due(tc.frames, tc.since); got != tc.want {
				t.Errorf("%v for %d frames after %s", got, tc.frames, tc.since)
			}
		})
	}
	if (checkpoint.Rule{}).Due(1<<30, 1000*time.Hour) {
		t.Error("the zero rule is due")
	}
}

// FuzzRule: no text makes the parser panic, a rule that is written and read is the same rule, and what is due stays
// due.
func FuzzRule(f *testing.F) {
	for _, text := range []string{"off", "5m | 20000 frames | (1000 frames & 30s)", "((1h30m))&16 MiB|3MB",
		"1.5h & 0 frames", "µ(", "5 m"} {
		f.Add(text, 1000, int64(time.Minute), uint16(5), uint32(7))
	}
	f.Fuzz(func(t *testing.T, text string, frames int, since int64, moreFrames uint16, moreTime uint32) {
		r, err := checkpoint.Parse(text)
		if err != nil {
			if !strings.Contains(err.Error(), "position") {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if again, err := checkpoint.Parse(r.String()); err != nil || !reflect.DeepEqual(r, again) {
			t.Errorf("%q gives %q, and that %q, %v", text, r, again, err)
		}
		frames, since = frames&(1<<31-1), since&(1<<62-1)
		if r.Due(frames, time.Duration(since)) && (!r.Due(frames+int(moreFrames), time.Duration(since)) ||
			!r.Due(frames, time.Duration(since+int64(moreTime)))) {
			t.Errorf("%q is no longer due with more than %d frames and %d ns", r, frames, since)
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
