package api

import (
	"context"
	"encoding/xml"
	"fmt"
	"strings"
	"unicode"

	"weft.dev/weft/humanize"
)

const (
	// cacheBadge: pages that show a badge are read far more often than its count matters.
	cacheBadge = "public, max-age=300"
	typeSVG    = "image/svg+xml"
	// maxLabel is the length of a label in characters; the rest is cut.
	maxLabel = 60
)

// badge answers with a count as an image.
func (s *server) badge(ctx context.Context, p *params) (any, error) {
	q := p.subjectOfFeed()
	label, ok := p.text("label")
	if q.Target == "" && q.Sources != nil {
		p.fail("source", "belongs to `subject`: it can't be combined with `did` or `host`")
	}
	if p.err != nil {
		return nil, p.err
	}
	n, err := s.Store.FeedTotal(ctx, q)
	if err != nil {
		return nil, err
	}
	label = oneLine(label, maxLabel)
	if !ok || label == "" {
		label = humanize.Plural(n, "link")
	}
	return file{contentType: typeSVG, cache: cacheBadge, body: badgeSVG(label, humanize.Number(n))}, nil
}

// badgeSVG draws a label and a value side by side. textLength fits the texts to their boxes in any font.
func badgeSVG(label, value string) []byte {
	const pad = 6 // pixels on either side of a text
	left := textWidth(label) + 2*pad
	right := textWidth(value) + 2*pad
	said := xmlText(label + ": " + value)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="20" role="img" aria-label="%s">`,
		left+right, said)
	fmt.Fprintf(&b, `<title>%s</title><clipPath id="r"><rect width="%d" height="20" rx="3"/></clipPath>`, said, left+right)
	fmt.Fprintf(&b, `<g clip-path="url(#r)"><rect width="%d" height="20" fill="#4a4a4a"/>`, left)
	fmt.Fprintf(&b, `<rect x="%d" width="%d" height="20" fill="#9c2f3f"/></g>`, left, right)
	b.WriteString(`<g fill="#fff" text-anchor="middle" font-family="Verdana,DejaVu Sans,Geneva,sans-serif" ` +
		`font-size="11">`)
	for _, text := range []struct {
		middle float64
		width  int
		text   string
	}{{float64(left) / 2, left - 2*pad, label}, {float64(left) + float64(right)/2, right - 2*pad, value}} {
		fmt.Fprintf(&b, `<text x="%.1f" y="14" textLength="%d" lengthAdjust="spacingAndGlyphs">%s</text>`,
			text.middle, text.width, xmlText(text.text))
	}
	b.WriteString("</g></svg>")
	return []byte(b.String())
}

// textWidth estimates the width of a text in Verdana of 11 pixels, in pixels.
func textWidth(text string) int {
	width := 0.0
	for _, r := range text {
		switch {
		case strings.ContainsRune("ijlI1.,:;'|!()[]/ ft", r):
			width += 4.4
		case strings.ContainsRune("mwMW@%", r):
			width += 10.5
		case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		case r >= 0x1100: // Hangul, Chinese, Japanese, emoji
			width += 11
		case unicode.IsUpper(r):
			width += 7.8
		default:
			width += 6.9
		}
	}
	return max(1, int(width+0.5))
}

// xmlText escapes a text for XML, also for attributes.
func xmlText(text string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(text)); err != nil {
		panic(err) // a builder doesn't fail
	}
	return b.String()
}
