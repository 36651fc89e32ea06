package web

import (
	"time"

	"weft.dev/weft/humanize"
)

// notice is shown above every page while the index is not current.
type notice struct{ Title, Text string }

// notice returns the reason why answers may be out of date; nil: they are current. It agrees with the status page.
func (s *Server) notice() *notice {
	lag := time.Second // known, and short
	if s.Lag != nil {
		lag = s.Lag()
	}
	switch {
	case lag == 0:
		return &notice{"No event read yet:", "weft has read no event since it started. The pages show the data in the index."}
	case lag.Seconds() > mostLag:
		return &notice{"Behind the network:", "the index has events up to " +
			s.Now().Add(-lag).UTC().Format("2006-01-02 15:04 UTC") + ", " + humanize.Seconds(lag.Seconds()) +
			" ago. Newer links are not counted yet."}
	}
	err := s.Current()
	if err != nil {
		return &notice{"Answers may be out of date:", err.Error() + "."}
	}
	return nil
}

// behind reports whether the newest events in the index are old.
func (s *Server) behind() bool {
	return s.Lag != nil && s.Lag() > mostLag*time.Second
}
