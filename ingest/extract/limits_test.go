package extract

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDepth(t *testing.T) {
	t.Parallel()
	// The record is 1 deep, a 2, the array in it 3.
	const record = `{"a":["a:1",["a:2"],{"b":"a:3"},"a:4",{"$type":"t"}],"b":{"c":"a:5"}}`
	for _, x := range []struct {
		depth int
		want  []pair
		deep  uint64
	}{
		{1, nil, 2},
		{2, []pair{{"a[]", "a:1"}, {"a[]", "a:4"}, {"b.c", "a:5"}}, 3},
		{3, []pair{{"a[]", "a:1"}, {"a[][]", "a:2"}, {"a[].b", "a:3"}, {"a[]", "a:4"}, {"b.c", "a:5"}}, 0},
	} {
		t.Run(fmt.Sprint(x.depth), func(t *testing.T) {
			t.Parallel()
			got, dropped := both(t, Limits{MaxDepth: x.depth}, record)
			if !slices.Equal(got, x.want) || dropped != (Dropped{Deep: x.deep}) {
				t.Errorf("got %q, dropped %+v", got, dropped)
			}
		})
	}
}

func TestAbsurdDepth(t *testing.T) {
	t.Parallel()
	const n = 1_000_000
	for _, x := range []struct {
		name, record string
		read         func(*Extractor, []byte) ([]Link, error)
		ok           bool
	}{
		{"json arrays", `{"a":"a:1","b":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`, (*Extractor).JSON, true},
		{"json objects", `{"a":"a:1","b":` + strings.Repeat(`{"":`, n) + "0" + strings.Repeat("}", n) + `}`,
			(*Extractor).JSON, true},
		{"json open", `{"a":"a:1","b":` + strings.Repeat("[", n), (*Extractor).JSON, false},
		{"json closed wrongly", `{"a":"a:1","b":` + strings.Repeat("[", n) + strings.Repeat("}", n) + `}`, (*Extractor).JSON,
			false},
		{"cbor arrays", "\xa2\x61a\x63a:1\x61b" + strings.Repeat("\x81", n) + "\x00", (*Extractor).CBOR, true},
		{"cbor arrays of two", "\xa2\x61a\x63a:1\x61b" + strings.Repeat("\x82", n) + strings.Repeat("\x00", n+1),
			(*Extractor).CBOR, true},
		{"cbor maps", "\xa2\x61a\x63a:1\x61b" + strings.Repeat("\xa1\x60", n) + "\x00", (*Extractor).CBOR, true},
		{"cbor open", "\xa2\x61a\x63a:1\x61b" + strings.Repeat("\x81", n), (*Extractor).CBOR, false},
	} {
		for _, depth := range []int{0, 1 << 30} {
			t.Run(fmt.Sprint(x.name, depth), func(t *testing.T) {
				t.Parallel()
				e := New(Limits{MaxDepth: depth})
				start := time.Now()
				links, err := x.read(e, []byte(x.record))
				if took := time.Since(start); took > 2*time.Second {
					t.Errorf("took %v", took)
				}
				if !x.ok {
					if err == nil {
						t.Error("no error")
					}
					return
				}
				if err != nil || len(links) != 1 || e.Dropped() != (Dropped{Deep: 1}) {
					t.Errorf("got %d links, %v, dropped %+v", len(links), err, e.Dropped())
				}
			})
		}
	}
}

// A $type that stands last is found in time that doesn't grow with the depth times the size.
func TestTypesLast(t *testing.T) {
	t.Parallel()
	const depth = 400
	record := strings.Repeat(`{"a":[`, depth) + `"a:1","` + strings.Repeat("x", 1<<20) + `"` +
		strings.Repeat(`],"$type":"t"}`, depth)
	start := time.Now()
	links, err := New(Limits{MaxDepth: 2 * depth, MaxPath: 1 << 20}).JSON([]byte(record))
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
	want := "a" + strings.Repeat("[t].a", depth-1) + "[]"
	if err != nil || len(links) != 1 || string(links[0].Path) != want {
		t.Errorf("got %q, %v", pairs(links), err)
	}
}

func TestMaxBytes(t *testing.T) {
	t.Parallel()
	// Each link twice: one that is there already takes nothing more. A path takes 16+3 bytes, a link 16+7.
	var record strings.Builder
	record.WriteString(`{"a":["a:10000"`)
	for range 2 {
		for i := range 1100 {
			fmt.Fprintf(&record, `,"a:%d"`, 10_000+i)
		}
	}
	record.WriteString(`]}`)
	for _, x := range []struct {
		max, want int
		dropped   uint64
	}{
		{0, 1100, 0}, {19 + 23*1100, 1100, 0}, {19 + 23*1100 - 1, 1099, 1101},
		{19 + 23, 1, 2199}, {19 + 22, 0, 2201}, {19 + 23*17, 17, 2201 - 18}, {1, 0, 2201},
	} {
		t.Run(fmt.Sprint(x.max), func(t *testing.T) {
			t.Parallel()
			got, dropped := both(t, Limits{MaxBytes: x.max}, record.String())
			if len(got) != x.want || dropped != (Dropped{Links: x.dropped}) {
				t.Fatalf("got %d links, dropped %+v", len(got), dropped)
			}
			for i, p := range got {
				if want := (pair{"a[]", fmt.Sprintf("a:%d", 10_000+i)}); p != want {
					t.Fatalf("link %d is %q, want %q", i, p, want)
				}
			}
		})
	}
}

// All links that a record of 1 MB can hold are taken, by default, as long as their paths are not long and all
// different.
func TestLargestRecords(t *testing.T) {
	t.Parallel()
	const size = 1_000_000 // in CBOR
	for _, x := range []struct {
		name          string
		before, after string
		link          func(i int) string
		bytes         int // of a link in CBOR, about
		most          int // links; 0: as many as fit
	}{
		{"in one list", `{"list":[""`, `]}`, func(i int) string {
			return fmt.Sprintf(`,"%c:%c%03x"`, 'a'+i>>12/26,
				'a'+i>>12%26, i&0xfff)
		}, 7, 0},
		{"at paths of their own", `{"many":{"":0`, `}}`, func(i int) string { return fmt.Sprintf(`,"%05x":"a:b"`, i) }, 10,
			0},
		{"two an item, as a list of cards has", `{"items":[0`, `]}`, func(i int) string {
			return fmt.Sprintf(`,{"$type":"com.example.list#card","ref":{"uri":"scry:%d","oracle":"oracle:%d"}}`, i, i)
		}, 75, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			var record strings.Builder
			record.WriteString(x.before)
			for i := range size / x.bytes {
				record.WriteString(x.link(i))
			}
			record.WriteString(x.after)
			asCBOR := toCBOR(t, record.String())
			if len(asCBOR) > size*21/20 || len(asCBOR) < size*8/10 {
				t.Fatalf("the record has %d bytes", len(asCBOR))
			}
			got, dropped := both(t, Limits{}, record.String())
			if want := size / x.bytes * max(strings.Count(x.link(0), `:"`)-strings.Count(x.link(0), `$type":"`),
				1); len(got) != want || dropped != (Dropped{}) {
				t.Errorf("got %d links of %d, dropped %+v", len(got), want, dropped)
			}
		})
	}
}

// Which links a budget leaves out doesn't depend on the order of keys, which JSON and CBOR have each their own.
func TestCutIsCanonical(t *testing.T) {
	t.Parallel()
	records := []string{
		`{"z":"a:z","many":["a:1","a:2",{"y":"a:3","x":["a:4",{"q":"a:5","p":"a:6"}]}],"b":{"long":"a:7","c":"a:8"},"aaaa":"a:9"}`,
		`{"aaaa":"a:9","b":{"c":"a:8","long":"a:7"},"many":["a:1","a:2",{"x":["a:4",{"p":"a:6","q":"a:5"}],"y":"a:3"}],"z":"a:z"}`,
		`{"\u007a":"a:z","b":{"c":"a:8","\u006cong":"a:7"},` +
			`"m\u0061ny":["a:1","a:2",{"x":["a:4",{"p":"a:6","q":"a:5"}],"y":"a:3"}],"aaaa":"a:9"}`,
	}
	canonical := []pair{{"aaaa", "a:9"}, {"b.c", "a:8"}, {"b.long", "a:7"}, {"many[]", "a:1"}, {"many[]", "a:2"},
		{"many[].x[]", "a:4"},
		{"many[].x[].p", "a:6"}, {"many[].x[].q", "a:5"}, {"many[].y", "a:3"}, {"z", "a:z"}}
	for limit := 1; limit < 500; limit++ {
		for i, record := range records {
			got, dropped := both(t, Limits{MaxBytes: limit}, record)
			if len(got)+int(dropped.Links) != len(canonical) || dropped != (Dropped{Links: dropped.Links}) {
				t.Fatalf("%d bytes, record %d: %d links, dropped %+v", limit, i, len(got), dropped)
			}
			if dropped.Links > 0 && !slices.Equal(got, canonical[:len(got)]) {
				t.Fatalf("%d bytes, record %d: got %q", limit, i, got)
			}
		}
	}
}

// Nested to the limit on the way to each of its links, a record of 1 MB takes the longest tape, and its paths the
// budget.
func TestLongestTape(t *testing.T) {
	t.Parallel()
	record := "\xa1\x61a\x9a\x00\x00\x3f\x00" + strings.Repeat(strings.Repeat("\x81", 60)+"\x63a:1", 0x3f00)
	x := New(Limits{})
	if links, err := x.CBOR([]byte(record)); err != nil || len(links) != 1 || x.Dropped() != (Dropped{}) {
		t.Errorf("got %d links, %v, dropped %+v", len(links), err, x.Dropped())
	}
	if _, err := x.CBOR([]byte("\xa1\x61a\x9a\x00\x00\x7e\x00" +
		strings.Repeat(strings.Repeat("\x81", 60)+"\x63a:1", 0x7e00))); err == nil {
		t.Error("no error for twice as much")
	}
}

func TestMaxPath(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name, record string
		want         []pair
		long         uint64
	}{
		{"at the limit", `{"abcdef":"a:1"}`, []pair{{"abcdef", "a:1"}}, 0},
		{"beyond", `{"abcdefg":"a:1","b":"a:2"}`, []pair{{"b", "a:2"}}, 1},
		{"brackets count", `{"abcd":["a:1"],"abcde":["a:2","a:3","no"]}`, []pair{{"abcd[]", "a:1"}}, 2},
		{"dots count", `{"abc":{"de":"a:1","def":"a:2"}}`, []pair{{"abc.de", "a:1"}}, 1},
		{"types count", `{"a":[{"$type":"b","c":"a:1"},{"$type":"bc","d":"a:2"},{"e":"a:3"},"a:4"]}`,
			[]pair{{"a[b].c", "a:1"}, {"a[].e", "a:3"}, {"a[]", "a:4"}}, 1},
		{"all below", `{"abcdefg":{"a":[["a:1"],{"b":"a:2"}]},"c":"a:3"}`, []pair{{"c", "a:3"}}, 2},
		{"no links below", `{"abcdefg":{"a":"b"}}`, nil, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			got, dropped := both(t, Limits{MaxPath: 6}, x.record)
			if !slices.Equal(got, x.want) || dropped != (Dropped{LongPath: x.long}) {
				t.Errorf("got %q, dropped %+v", got, dropped)
			}
		})
	}
}

func TestNulInKey(t *testing.T) {
	t.Parallel()
	got, dropped := both(t, Limits{}, `{"a\u0000":{"b":"a:1"},"c":"a:2"}`)
	if !slices.Equal(got, []pair{{"c", "a:2"}}) || dropped != (Dropped{BadPath: 1}) {
		t.Errorf("got %q, dropped %+v", got, dropped)
	}
}

// A "$type" with a NUL is in the path of what its element holds, as a key is.
func TestNulInType(t *testing.T) {
	t.Parallel()
	got, dropped := both(t, Limits{}, `{"a":[{"$type":"t\u0000","u":"a:1","v":["a:2"]},{"u":"a:3"}]}`)
	if !slices.Equal(got, []pair{{"a[].u", "a:3"}}) || dropped != (Dropped{BadPath: 2}) {
		t.Errorf("got %q, dropped %+v", got, dropped)
	}
}

func TestTooLong(t *testing.T) {
	t.Parallel()
	if _, err := New(Limits{}).JSON(make([]byte, maxRecord+1)); err == nil {
		t.Error("no error")
	}
}

func TestLinksOutliveBufferGrowth(t *testing.T) {
	t.Parallel()
	var record strings.Builder
	record.WriteString(`{"z":0`)
	for i := range 900 {
		fmt.Fprintf(&record, `,"key%d":"https://example.com/%d"`, i, i)
	}
	record.WriteString(`}`)
	got, _ := both(t, Limits{}, record.String())
	if len(got) != 900 {
		t.Fatalf("got %d links", len(got))
	}
	for i, p := range got {
		if want := (pair{fmt.Sprintf("key%d", i), fmt.Sprintf("https://example.com/%d", i)}); p != want {
			t.Fatalf("link %d is %q, want %q", i, p, want)
		}
	}
}

func TestLargeBuffersAreReleased(t *testing.T) {
	t.Parallel()
	x := New(Limits{})
	record := `{"a":[` + strings.Repeat(`"https://example.com/aaaaaaaaaaaaaaaaaaaa",`, 100_000) + `""]}`
	if _, err := x.JSON([]byte(record)); err != nil {
		t.Fatal(err)
	}
	if _, err := x.JSON([]byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	if cap(x.targets) > maxKept || cap(x.tape)*12 > maxKept {
		t.Errorf("keeps %d bytes of targets and %d tokens", cap(x.targets), cap(x.tape))
	}
}
