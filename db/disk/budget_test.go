package disk_test

import (
	"math"
	"strings"
	"testing"

	"weft.dev/weft/db/disk"
)

func TestParseBudget(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		text string
		want disk.Budget
		err  string
	}{
		{"17GiB", disk.Budget{Bytes: 17 << 30}, ""},
		{"20 GB", disk.Budget{Bytes: 20e9}, ""},
		{"512MiB", disk.Budget{Bytes: 512 << 20}, ""},
		{"90%", disk.Budget{Percent: 90}, ""},
		{"99.5 %", disk.Budget{Percent: 99.5}, ""},
		{"100%", disk.Budget{Percent: 100}, ""},
		{"", disk.Budget{}, "neither a size"},
		{"much", disk.Budget{}, "neither a size"},
		{"-1GB", disk.Budget{}, "neither a size"},
		{"99999999999GB", disk.Budget{}, "neither a size"},
		{"511MiB", disk.Budget{}, "less than 512MiB"},
		{"17", disk.Budget{}, "less than 512MiB"},
		{"0%", disk.Budget{}, "not a share"},
		{"101%", disk.Budget{}, "not a share"},
		{"NaN%", disk.Budget{}, "not a share"},
		{"%", disk.Budget{}, "not a share"},
	} {
		got, err := disk.ParseBudget(tc.text)
		if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("%q: %+v, %v", tc.text, got, err)
		}
	}
}

func FuzzParseBudget(f *testing.F) {
	for _, text := range []string{"17GiB", "90%", "1e9", "0x1p40", "1e400%", "18446744073709551615"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b, err := disk.ParseBudget(text)
		isNone := b == disk.Budget{}
		if isNone != (err != nil) || b.Bytes < 0 || math.IsNaN(b.Percent) || b.Percent > 100 || b.Bytes > 0 && b.Percent > 0 {
			t.Errorf("%q: %+v, %v", text, b, err)
		}
	})
}
