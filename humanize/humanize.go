// Package humanize writes numbers for people: on pages, in the output of commands, in reasons and in logs.
package humanize

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/dustin/go-humanize"
)

// Number returns a whole number with commas: 1,234,567.
func Number(n int64) string { return humanize.Comma(n) }

// Count returns a number and a noun, which gets an s unless the number is 1: "1 link", "2,000 links".
func Count(n int64, noun string) string { return Number(n) + " " + Plural(n, noun) }

// Plural returns the noun for one thing, and with an s for any other number.
func Plural(n int64, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

// Bytes returns a size with one decimal and the unit that fits, a power of 1,000: "999 B", "12.3 GB".
func Bytes(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	v := float64(n)
	unit := ""
	for _, unit = range []string{"kB", "MB", "GB", "TB"} {
		v /= 1000
		if v < 999.95 {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}

// Short returns a number with three digits and k, M or G: 1.23M.
func Short(n int64) string {
	v := float64(n)
	unit := ""
	for _, u := range []string{"k", "M", "G"} {
		if v < 999.5 {
			break
		}
		v /= 1000
		unit = u
	}
	switch {
	case unit == "":
		return strconv.FormatInt(n, 10)
	case v < 10:
		return fmt.Sprintf("%.2f%s", v, unit)
	case v < 100:
		return fmt.Sprintf("%.1f%s", v, unit)
	}
	return fmt.Sprintf("%.0f%s", v, unit)
}

// Figure returns a measured value: with one decimal below 10, else as a whole number with commas.
func Figure(v float64) string {
	if math.Abs(v) < 10 && v != math.Trunc(v) {
		return fmt.Sprintf("%.1f", v)
	}
	return Number(int64(math.Round(v)))
}

// Duration returns a duration in the unit that fits, or in two: "250 ms", "1.5 s", "90 s", "3 min 20 s", "45 min",
// "3 h 20 min", "30 h", "330 days". Whole seconds have no decimal: "1 s". It is for all durations that people read.
// Negative ones count as 0.
func Duration(d time.Duration) string {
	s := max(d, 0).Seconds()
	whole := int64(math.Round(s))
	minutes := int64(math.Round(s / 60))
	switch {
	case s < 0.9995:
		return fmt.Sprintf("%.0f ms", s*1000)
	case s < 9.95 && d%time.Second != 0:
		return fmt.Sprintf("%.1f s", s)
	case whole < 120:
		return fmt.Sprintf("%d s", whole)
	case whole < 600:
		return two(whole, 60, "min", "s")
	case minutes < 120:
		return fmt.Sprintf("%d min", minutes)
	case minutes < 600:
		return two(minutes, 60, "h", "min")
	case s < 48*3600:
		return fmt.Sprintf("%.0f h", s/3600)
	}
	return Number(int64(s/86400)) + " days"
}

// Seconds returns a duration of so many seconds as Duration writes it.
func Seconds(s float64) string { return Duration(time.Duration(min(s, 1e9) * float64(time.Second))) }

// two returns n in a large unit of so many small ones, and the rest in the small one, unless it is 0.
func two(n, small int64, largeName, smallName string) string {
	text := fmt.Sprintf("%d %s", n/small, largeName)
	if n%small == 0 {
		return text
	}
	return fmt.Sprintf("%s %d %s", text, n%small, smallName)
}

// Capital returns the text with its first letter, if that is one of a to z, in upper case.
func Capital(text string) string {
	if text == "" || text[0] < 'a' || text[0] > 'z' {
		return text
	}
	return string(text[0]-'a'+'A') + text[1:]
}
