package sim

// asciiWords make handles, hosts and tags; text also has words of other scripts, so that byte offsets, character counts
// and JSON escapes differ from each other.
var asciiWords = [...]string{
	"river", "garden", "signal", "paper", "winter", "copper", "lantern", "orbit", "meadow", "harbor", "violet", "thunder",
	"pixel", "quartz", "saddle", "timber", "velvet", "walnut", "anchor", "breeze", "canyon", "desert", "ember", "falcon",
	"glacier", "hollow", "island", "jigsaw", "kettle", "lagoon", "marble", "nectar", "oyster", "pebble", "quiver",
	"ribbon",
	"silver", "tunnel", "umber", "valley", "willow", "yonder", "zephyr", "acorn", "bramble", "cinder", "dapple", "easel",
	"the", "a", "of", "and", "to", "is", "in", "that", "it", "was", "for", "on", "are", "as", "with", "they", "at", "be",
}

var otherWords = [...]string{
	"größe", "naïve", "señal", "żółw", "привет", "мир", "日本語",
	"こんにちは", "你好", "한국어", "สวัสดี", "مرحبا", "שלום",
	"🌊", "👩‍👩‍👧‍👦", "🏳️‍🌈", "e\u0301tude", "\u202eabc\u202c",
	"<b>&amp;</b>", "\"quoted\"", "back\\slash", "tab\there",
	"line\nbreak",
	"\u2028", "𝕬𝖇𝖈", "\u0000nul",
}

var words = func() []string {
	return append(append([]string{}, asciiWords[:]...), otherWords[:]...)
}()

var langs = [...]string{"en", "en", "en", "en", "ja", "pt-BR", "de", "es", "ko", "fr"}

// appendText writes n words. One word in twelve is from the second list: about the share of posts that aren't plain
// ASCII when n is small.
func appendText(b []byte, r *rng, n int) []byte {
	for i := range n {
		if i > 0 {
			b = append(b, ' ')
		}
		if r.one(12) {
			b = append(b, otherWords[r.n(len(otherWords))]...)
		} else {
			b = append(b, asciiWords[r.n(len(asciiWords))]...)
		}
	}
	return b
}

// webHosts are the hosts that posts link to, most popular first.
var webHosts = [...]string{
	"www.youtube.com", "bsky.app", "www.nytimes.com", "www.theguardian.com", "github.com", "youtu.be", "media.tenor.com",
	"www.washingtonpost.com", "apnews.com", "www.bbc.co.uk", "en.wikipedia.org", "www.twitch.tv", "open.spotify.com",
	"example.com", "news.example.org", "blog.example.net:8443",
}

// appendURL writes the address of a page. Hosts and pages are both skewed, so that some pages have many links.
func appendURL(b []byte, r *rng) []byte {
	host := r.zipf(len(webHosts))
	page := r.zipf(4096)
	b = append(b, "https://"...)
	b = append(b, webHosts[host]...)
	b = append(b, '/')
	b = append(b, asciiWords[(page+host)%len(asciiWords)]...)
	b = append(b, '/')
	b = appendBase32(b, mix(uint64(page)<<8|uint64(host)), 6)
	if page%5 == 0 {
		b = append(b, "?v="...)
		b = appendBase32(b, mix(uint64(page)), 4)
	}
	return b
}

// oddURLs need normalising, are links of a rare scheme, or look like links but aren't.
var oddURLs = [...]string{
	"HTTP://EXAMPLE.COM/",
	"https://Example.COM:443/%7Euser/./a/../b%2fc?x=%41&y=%c3%a9#Frag%2A",
	"https://example.com",
	"https://example.com/a%20b/%E2%9C%93",
	"https://bücher.example/straße?q=日本",
	"https://[2001:DB8::1]:8080/x",
	"https://user:pw@Example.org/private",
	"http://example.com//double//slash/",
	"https://example.com/?",
	"https://example.com/#",
	"mailto:Someone@Example.com",
	"magnet:?xt=urn:btih:c12fe1c06bba254a9dc9f519b335aa7c1367a88a",
	"ipfs://bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi",
	"urn:isbn:0451450523",
	"data:text/plain;base64,SGVsbG8",
	"javascript:void(0)",
	"did:web:example.com",
	"did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
	"did:plc:TOOLOUD",
	"at://Alice.Example.COM/app.bsky.feed.post/3jui7kd54zh2y",
	"at://alice.example.com",
	"at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.feed.post/3jui7kd54zh2y#/text",
	"at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.feed.post/self?x=1",
	"at://",
	" https://example.com/spaces ",
	"https://exa mple.com/",
	"https://",
	"not a link: at all",
	"",
}
