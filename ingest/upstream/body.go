package upstream

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/jcalabro/atmos/cbor"

	"weft.dev/weft/db/body"
)

var errBody = errors.New("its content cannot be converted from JSON")

// Body returns the event's record as DAG-CBOR, converted from JSON if need be. The protocol forbids floats, and some
// records have them. They are converted only if the event's CID confirms the result: JSON may have 1 for 1.0.
func (e *Event) Body() ([]byte, error) {
	if e.CBOR != nil || e.JSON == nil {
		return e.CBOR, nil
	}
	v, err := cbor.FromJSON(e.JSON)
	if err == nil {
		return cbor.Marshal(v)
	}
	digest, known := body.ParseCID(e.CID)
	if !known {
		return nil, errBody
	}
	dec := json.NewDecoder(bytes.NewReader(e.JSON))
	dec.UseNumber()
	err = dec.Decode(&v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBody, err)
	}
	v, err = ofJSON(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBody, err)
	}
	made, err := cbor.Marshal(v)
	if err != nil || body.Sum(made) != digest {
		return nil, errBody
	}
	return made, nil
}

// ofJSON converts a value of encoding/json, with json.Number, to one for cbor.Marshal. It changes v.
func ofJSON(v any) (any, error) {
	var err error
	switch v := v.(type) {
	case json.Number:
		return number(string(v))
	case []any:
		for i := range v {
			v[i], err = ofJSON(v[i])
			if err != nil {
				return nil, err
			}
		}
	case map[string]any:
		if s, ok := v["$bytes"].(string); ok && len(v) == 1 {
			return base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
		}
		if s, ok := v["$link"].(string); ok && len(v) == 1 {
			return cbor.ParseCIDString(s)
		}
		for key := range v {
			v[key], err = ofJSON(v[key])
			if err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

// number parses a number: an int64 if it has neither fraction nor exponent and fits, otherwise a float64.
func number(s string) (any, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, errBody
	}
	return f, nil
}
