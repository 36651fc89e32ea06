package humanize

import (
	"math"
	"testing"
	"time"
)

func TestHumanize(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ got, want string }{
		{Number(0), "0"}, {Number(999), "999"}, {Number(1000), "1,000"}, {Number(-1234567), "-1,234,567"},
		{Number(-123), "-123"},
		{Count(1, "link"), "1 link"}, {Count(0, "link"), "0 links"}, {Count(2000, "link"), "2,000 links"},
		{Capital("list members"), "List members"}, {Capital("RSVPs"), "RSVPs"}, {Capital("über"), "über"},
		{Capital(""), ""},
		{Bytes(0), "0 B"}, {Bytes(999), "999 B"}, {Bytes(1000), "1.0 kB"}, {Bytes(999_949), "999.9 kB"},
		{Bytes(999_950), "1.0 MB"},
		{Bytes(12_345_678_901), "12.3 GB"}, {Bytes(5e15), "5000.0 TB"},
		{Short(999), "999"}, {Short(1234), "1.23k"}, {Short(12_345_678), "12.3M"}, {Short(999_600), "1.00M"},
		{Short(123e9), "123G"},
		{Figure(1.25), "1.2"}, {Figure(3), "3"}, {Figure(1234.4), "1,234"},
		{Seconds(-1), "0 ms"}, {Seconds(0.25), "250 ms"}, {Seconds(0.9996), "1.0 s"}, {Seconds(1), "1 s"},
		{Seconds(9), "9 s"}, {Seconds(1.5), "1.5 s"},
		{Seconds(9.96), "10 s"},
		{Seconds(90), "90 s"}, {Seconds(119.7), "2 min"}, {Seconds(200), "3 min 20 s"}, {Seconds(599.7), "10 min"},
		{Seconds(3599), "60 min"}, {Seconds(2 * 3600), "2 h"}, {Seconds(3*3600 + 1230), "3 h 21 min"},
		{Seconds(30 * 3600), "30 h"},
		{Seconds(1_036_800), "12 days"}, {Seconds(28_525_175), "330 days"}, {Seconds(math.Inf(1)), "11,574 days"},
		{Duration(7923*time.Hour + 39*time.Minute + 36*time.Second), "330 days"},
		{Duration(48*time.Hour - time.Second), "48 h"},
	} {
		if tc.got != tc.want {
			t.Errorf("%q, want %q", tc.got, tc.want)
		}
	}
}
