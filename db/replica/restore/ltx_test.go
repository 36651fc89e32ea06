package restore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/superfly/ltx"
)

// ltxFile makes an LTX file with the library: the pages with these numbers, half of them of random bytes.
func ltxFile(t testing.TB, head ltx.Header, numbers []uint32) []byte {
	t.Helper()
	rng := rand.NewChaCha8([32]byte{7})
	var b bytes.Buffer
	enc, err := ltx.NewEncoder(&b)
	if err != nil {
		t.Fatal(err)
	}
	head.Version, head.Flags = ltx.Version, ltx.HeaderFlagNoChecksum
	if err := enc.EncodeHeader(head); err != nil {
		t.Fatal(err)
	}
	page := make([]byte, head.PageSize)
	for i, n := range numbers {
		if i%2 == 0 {
			_, _ = rng.Read(page)
		}
		page[0] = byte(n)
		if err := enc.EncodePage(ltx.PageHeader{Pgno: n}, page); err != nil {
			t.Fatal(err)
		}
	}
	if err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// readAll reads an LTX file into its pages.
func readAll(b []byte) (h ltx.Header, pages map[uint32]string, err error) {
	pages = map[uint32]string{}
	err = ReadLTX(bytes.NewReader(b), int64(len(b)), func(head ltx.Header) error { h = head; return nil },
		func(n uint32, data []byte) error {
			pages[n] = string(data)
			return nil
		})
	return h, pages, err
}

// theirs reads it with the library's decoder, which panics on some damage.
func theirs(b []byte) (pages map[uint32]string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	dec, pages := ltx.NewDecoder(bytes.NewReader(b)), map[uint32]string{}
	if err := dec.DecodeHeader(); err != nil {
		return nil, err
	}
	data := make([]byte, dec.Header().PageSize)
	for {
		var h ltx.PageHeader
		err := dec.DecodePage(&h, data)
		if errors.Is(err, io.EOF) {
			return pages, dec.Close()
		}
		if err != nil {
			return nil, err
		}
		pages[h.Pgno] = string(data)
	}
}

func TestReadLTX(t *testing.T) {
	t.Parallel()
	many := make([]uint32, 40)
	for i := range many {
		many[i] = uint32(i + 1)
	}
	for _, tc := range []struct {
		name    string
		head    ltx.Header
		numbers []uint32
	}{
		{"a snapshot", ltx.Header{PageSize: 512, Commit: 40, MinTXID: 1, MaxTXID: 9}, many},
		{"some pages", ltx.Header{PageSize: 4096, Commit: 1 << 20, MinTXID: 5, MaxTXID: 5}, []uint32{1, 700, 1 << 20}},
		{"large pages", ltx.Header{PageSize: 65536, Commit: 3, MinTXID: 2, MaxTXID: 3}, []uint32{2, 3}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			b := ltxFile(t, tc.head, tc.numbers)
			h, got, err := readAll(b)
			if err != nil || h.Commit != tc.head.Commit || h.MaxTXID != tc.head.MaxTXID {
				t.Fatalf("%+v, %v", h, err)
			}
			want, err := theirs(b)
			if err != nil || len(got) != len(tc.numbers) || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%d pages, %d with the library, %v", len(got), len(want), err)
			}
			r := rand.New(rand.NewPCG(1, 2))
			for i := range 3000 {
				damaged := bytes.Clone(b)
				switch i % 3 {
				case 0:
					damaged[r.IntN(len(b))] ^= 1 << r.IntN(8)
				case 1:
					damaged = damaged[:r.IntN(len(b))]
				case 2:
					damaged = append(damaged, byte(i))
				}
				if _, _, err := readAll(damaged); !errors.Is(err, ErrDamaged) {
					t.Fatalf("damage of kind %d: %v", i%3, err)
				}
			}
		})
	}
}

// FuzzReadLTX: no bytes make the reader panic, and what it takes for good the library does too.
func FuzzReadLTX(f *testing.F) {
	f.Add(ltxFile(f, ltx.Header{PageSize: 512, Commit: 3, MinTXID: 1, MaxTXID: 1}, []uint32{1, 2, 3}))
	f.Add(ltxFile(f, ltx.Header{PageSize: 1024, Commit: 9, MinTXID: 4, MaxTXID: 6}, []uint32{2, 9}))
	f.Add([]byte("LTX1"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, got, err := readAll(b)
		if err != nil {
			return
		}
		if want, err := theirs(b); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("the library: %v", err)
		}
	})
}
