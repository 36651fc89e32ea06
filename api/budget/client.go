package budget

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// Client identifies a client by its host and its network.
type Client struct {
	Host string // an IPv4 address, or the /64 of an IPv6 address, which is one subscriber
	Net  string // the /48 of an IPv6 address, which one person can rent; for IPv4 the same as Host
}

// Wide is the share of a network, in shares of a host: a /48 has 65,536 hosts, perhaps of several people.
const Wide = 8

// Clients identifies clients by host and network.
type Clients struct {
	// Header is the client-IP header of the reverse proxy. The last entry of a list counts, because the proxy added it.
	// "": the address of the connection counts, because any client can send a header.
	Header string
}

// Of returns the client of a request.
func (c Clients) Of(r *http.Request) Client {
	text := r.RemoteAddr
	if c.Header != "" {
		if fields := r.Header.Values(c.Header); len(fields) > 0 {
			last := fields[len(fields)-1]
			text = strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
		}
	}
	return ClientOf(text)
}

// maxAddress is longer than any address with a zone and a port, in bytes.
const maxAddress = 64

// ClientOf returns the client of an address with or without a port. A text that is not an address is a client of its
// own; its first 64 bytes count.
func ClientOf(address string) Client {
	short := len(address) <= maxAddress
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	address = strings.Trim(address, "[]")
	ip, err := netip.ParseAddr(address)
	if err != nil {
		// A map keeps the text, so its length is bounded.
		address = "?" + strings.Clone(address[:min(len(address), maxAddress)])
		return Client{address, address}
	}
	if ip.Is4() && short { // there is one way to write it
		return Client{address, address}
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		text := ip.String()
		return Client{text, text}
	}
	host, _ := ip.Prefix(64)
	wide, _ := ip.Prefix(48)
	return Client{host.String(), wide.String()}
}
