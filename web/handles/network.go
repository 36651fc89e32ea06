package handles

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"

	"weft.dev/weft/link"
)

// plc is the directory of the accounts whose DIDs begin with did:plc.
const plc = "https://plc.directory"

const (
	// In bytes. A DID document is about one kilobyte, and what a handle's domain says a line.
	maxDocument, maxLine = 64 << 10, 4 << 10
	// DNS is asked first: it is faster, and where it has an answer the web needn't be.
	waitDNS = 1500 * time.Millisecond
)

// network is the directory that everybody has. https://atproto.com/specs/handle and /did say how it is asked.
type network struct {
	txt       func(ctx context.Context, name string) ([]string, error)
	strangers *http.Client // for hosts that anybody may choose
	known     *http.Client // for the directory
	plc       string
	domains   *domains
}

func newNetwork() *network {
	dialer := &net.Dialer{Timeout: 3 * time.Second, Control: publicOnly}
	return &network{
		txt: net.DefaultResolver.LookupTXT,
		plc: plc, domains: newDomains(time.Now),
		strangers: &http.Client{
			// No proxy: it would connect in our stead, and look at no address.
			Transport: &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: 3 * time.Second,
				MaxIdleConns: 20, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true},
			CheckRedirect: follow,
		},
		known: &http.Client{},
	}
}

// follow allows a few redirects to other https addresses.
func follow(r *http.Request, before []*http.Request) error {
	if len(before) > 3 || r.URL.Scheme != "https" {
		return http.ErrUseLastResponse
	}
	return nil
}

// reserved are the addresses that are neither private nor on the internet: those of carriers, of protocols and of
// tests.
var reserved = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	// IPv4 addresses in those of IPv6, which a gateway may translate: compatible ones, NAT64 of everybody and of a
	// network, 6to4, Teredo.
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("2001::/32"), netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("fec0::/10"), netip.MustParsePrefix("100::/64"), // private once, and the one that is nowhere
}

// publicOnly refuses connections to addresses that aren't on the internet. It sees the address itself, behind all
// names.
func publicOnly(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("handles: %q is no address: %w", address, err)
	}
	ip := at.Addr().Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return fmt.Errorf("handles: %s is not on the internet", ip)
	}
	for _, p := range reserved {
		if p.Contains(ip) {
			return fmt.Errorf("handles: %s is not on the internet", ip)
		}
	}
	return nil
}

// DID is the account of a handle, if the account says so too.
func (n *network) DID(ctx context.Context, handle string) (string, error) {
	did, err := n.claimed(ctx, handle)
	if err != nil {
		return "", err
	}
	says, err := n.alias(ctx, did)
	if err == nil && says != handle {
		err = fmt.Errorf("handles: %s says it is %s, which says it is %q", handle, did, says)
	}
	return did, err
}

// Handle is the handle of an account; empty: it has none that says so too.
func (n *network) Handle(ctx context.Context, did string) (string, error) {
	handle, err := n.alias(ctx, did)
	if handle == "" || err != nil {
		return "", err
	}
	switch of, err := n.claimed(ctx, handle); {
	case errors.Is(err, ErrAway), errors.Is(err, errSilent):
		return "", err
	case err != nil, of != did:
		return "", nil
	}
	return handle, nil
}

// claimed is the account that a handle's domain names.
func (n *network) claimed(ctx context.Context, handle string) (string, error) {
	asking, cancel := context.WithTimeout(ctx, waitDNS)
	records, dns := n.txt(asking, "_atproto."+handle)
	cancel()
	var found []string
	for _, r := range records {
		if did, ok := strings.CutPrefix(r, "did="); ok {
			found = append(found, did)
		}
	}
	if len(found) > 1 {
		return "", fmt.Errorf("handles: DNS has %d accounts for %s", len(found), handle)
	}
	if len(found) == 1 {
		return checkDID(handle, found[0])
	}
	var broken *net.DNSError
	if errors.As(dns, &broken) && resolverIsAway(broken) {
		return "", fmt.Errorf("%w: %w", ErrAway, dns)
	}
	line, err := n.stranger(ctx, handle, "/.well-known/atproto-did", maxLine)
	if err == nil {
		return checkDID(handle, strings.TrimSpace(string(line)))
	}
	var missing *net.DNSError
	if ctx.Err() != nil || errors.Is(err, errBusy) || dns != nil && !(errors.As(dns, &missing) && missing.IsNotFound) {
		return "", fmt.Errorf("%w: %w", errSilent, err)
	}
	// DNS works, and knows nothing; the domain's web server is its own affair.
	return "", err
}

// errSilent says that a stranger's domain gave no answer. It is no failure of what all names need, as strangers choose
// who is asked.
var errSilent = errors.New("handles: the domain gives no answer")

// resolverIsAway reports whether DNS itself can't be asked. A name server of a stranger's that fails or is silent looks
// like a time-out, or a failure of the resolver's, and is none of that.
func resolverIsAway(err *net.DNSError) bool {
	var refused syscall.Errno
	return errors.As(err, &refused) || strings.Contains(err.Err, "connection refused") || strings.Contains(err.Err,
		"network is unreachable")
}

// stranger asks a host that a stranger chose, if its domain may be asked now.
func (n *network) stranger(ctx context.Context, host, path string, most int64) ([]byte, error) {
	done, err := n.domains.enter(ctx, host)
	if err != nil {
		return nil, err
	}
	defer done()
	return get(ctx, n.strangers, "https://"+host+path, most)
}

func checkDID(handle, did string) (string, error) {
	if !link.ValidDID(did) {
		return "", fmt.Errorf("handles: %s says it is %.100q, which is no DID", handle, did)
	}
	return did, nil
}

// alias is the handle that an account says it has; empty: it says none.
func (n *network) alias(ctx context.Context, did string) (string, error) {
	body, err := n.document(ctx, did)
	if err != nil {
		return "", err
	}
	return aliasIn(body, did)
}

// document is the DID document of an account.
func (n *network) document(ctx context.Context, did string) (body []byte, err error) {
	if host, ok := strings.CutPrefix(did, "did:web:"); ok {
		if !link.ValidHandle(strings.ToLower(host)) { // atproto allows neither paths nor ports there
			return nil, fmt.Errorf("handles: %s has no host name", did)
		}
		body, err = n.stranger(ctx, strings.ToLower(host), "/.well-known/did.json", maxDocument)
	} else if strings.HasPrefix(did, "did:plc:") {
		body, err = get(ctx, n.known, n.plc+"/"+url.PathEscape(did), maxDocument)
		if err != nil && !errors.Is(err, errRefused) {
			err = fmt.Errorf("%w: %w", ErrAway, err)
		}
	} else {
		err = fmt.Errorf("handles: nobody is to be asked about %s", did)
	}
	return body, err
}

// aliasIn is the handle in the document of an account; empty: there is none.
func aliasIn(body []byte, did string) (string, error) {
	var doc struct {
		ID    string   `json:"id"`
		Known []string `json:"alsoKnownAs"`
	}
	if err := json.Unmarshal(body, &doc); err != nil || doc.ID != did {
		return "", fmt.Errorf("handles: the document of %s is not its own", did)
	}
	for _, name := range doc.Known {
		if handle, ok := strings.CutPrefix(name, "at://"); ok {
			handle = strings.ToLower(handle)
			if link.ValidHandle(handle) {
				return handle, nil
			}
		}
	}
	return "", nil
}

// errRefused is an answer that says no: there is no such account.
var errRefused = errors.New("handles: refused")

func get(ctx context.Context, client *http.Client, address string, most int64) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "weft")
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	switch {
	case answer.StatusCode == http.StatusTooManyRequests, answer.StatusCode >= http.StatusInternalServerError:
		return nil, fmt.Errorf("handles: %s answers %s", address, answer.Status)
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%w: %s answers %s", errRefused, address, answer.Status)
	}
	return io.ReadAll(io.LimitReader(answer.Body, most))
}
