// Package humanize writes numbers for people: on pages, in the output of commands and in logs.
package humanize

import (
	"fmt"
	"math"
	"strconv"

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

// Seconds returns a duration, in seconds, in the unit that fits: "250 ms", "1.5 s", "90 seconds", "3 hours", "12 days".
func Seconds(s float64) string {
	switch {
	case s < 1:
		return fmt.Sprintf("%.0f ms", max(s, 0)*1000)
	case s < 10:
		return fmt.Sprintf("%.1f s", s)
	case s < 120:
		return fmt.Sprintf("%.0f seconds", s)
	case s < 2*3600:
		return fmt.Sprintf("%.0f minutes", s/60)
	case s < 48*3600:
		return fmt.Sprintf("%.0f hours", s/3600)
	}
	return Number(int64(s/86400)) + " days"
}

// Capital returns the text with its first letter, if that is one of a to z, in upper case.
func Capital(text string) string {
	if text == "" || text[0] < 'a' || text[0] > 'z' {
		return text
	}
	return string(text[0]-'a'+'A') + text[1:]
}
