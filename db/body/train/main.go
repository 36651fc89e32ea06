// Command train builds a dictionary for db/body and measures the effect of dictionaries.
//
//	go run ./db/body/train                           measure sizes and levels on records beside the training set
//	go run ./db/body/train -id 32770 -o 32770.zdict  build a dictionary from all records
//
// A released dictionary never changes, because stored frames need it. A new one gets the next number and is added to
// dictionaries in body.go.
package main

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/jcalabro/atmos/cbor"
	"github.com/klauspost/compress/dict"
	"github.com/klauspost/compress/zstd"

	"weft.dev/weft/ingest/sim"
)

// realEvents are events of the network, as Jetstream sent them.
//
//go:embed testdata/events.jsonl
var realEvents []byte

const (
	// perCollection is the number of synthetic records of each collection without real ones.
	perCollection = 20
	// realTimes is the number of copies of each real record. With ten, likes and posts have about the share that they
	// have in the network, and the tables of zstd's entropy coding fit them.
	realTimes = 10
	// hashBytes is the minimum length of a repeat in bytes. Measured, 8 and 6 differ by 1 %.
	hashBytes = 8
	// defaultSize is the size in bytes above which larger dictionaries gain nothing.
	defaultSize = 16 << 10
)

func main() {
	out := flag.String("o", "", "write a dictionary to `FILE`")
	id := flag.Uint("id", 0, "its `NUMBER`, from 32768 to 65535: zstd's range for private use, 2 bytes in a frame")
	size := flag.Int("size", defaultSize, "its size, in bytes")
	flag.Parse()
	if err := run(*out, uint32(*id), *size); err != nil {
		fmt.Fprintln(os.Stderr, "train:", err)
		os.Exit(1)
	}
}

func run(out string, id uint32, size int) error {
	real, err := realRecords()
	if err != nil {
		return err
	}
	if out == "" {
		return measure(real)
	}
	if id < 1<<15 || id >= 1<<16 {
		return fmt.Errorf("-id is from 32768 to 65535")
	}
	d, err := train(real, size, id)
	if err != nil {
		return err
	}
	return os.WriteFile(out, d, 0o644)
}

// train builds a dictionary from real records, and from synthetic ones of collections without real ones.
func train(real [][]byte, size int, id uint32) ([]byte, error) {
	var input [][]byte
	for range realTimes {
		input = append(input, real...)
	}
	input = append(input, synthetic(11, perCollection)...)
	return dict.BuildZstdDict(input, dict.Options{
		MaxDictSize: size, HashBytes: hashBytes, ZstdDictID: id, ZstdLevel: zstd.SpeedBestCompression,
	})
}

// realRecords returns the real records as DAG-CBOR. It checks the CID of each.
func realRecords() (records [][]byte, err error) {
	scan := bufio.NewScanner(bytes.NewReader(realEvents))
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		var e struct {
			Commit struct {
				CID    string
				Record json.RawMessage
			}
		}
		if err := json.Unmarshal(scan.Bytes(), &e); err != nil {
			return nil, err
		}
		if e.Commit.Record == nil {
			continue
		}
		v, err := cbor.FromJSON(e.Commit.Record)
		if err != nil {
			return nil, err
		}
		record, err := cbor.Marshal(v)
		if err != nil {
			return nil, err
		}
		if cid := cbor.ComputeCID(cbor.CodecDagCBOR, record).String(); cid != e.Commit.CID {
			return nil, fmt.Errorf("a record has the CID %s, and its event has %s", cid, e.Commit.CID)
		}
		records = append(records, record)
	}
	return records, scan.Err()
}

// wellKnown are the collections with enough real records.
var wellKnown = map[string]bool{
	"app.bsky.feed.like": true, "app.bsky.feed.post": true, "app.bsky.feed.repost": true,
	"app.bsky.graph.follow": true, "app.bsky.graph.block": true,
}

// synthetic generates up to limit records of each collection that isn't well known; with limit 0, 5,000 of all
// collections.
func synthetic(seed uint64, limit int) (records [][]byte) {
	network := sim.NewNetwork(sim.NetworkConfig{Seed: seed, Accounts: 20_000})
	counts := map[string]int{}
	for range 200_000 {
		e := network.Next()
		if e.CBOR == nil || limit > 0 && (wellKnown[e.Collection] || counts[e.Collection] == limit) {
			continue
		}
		counts[e.Collection]++
		records = append(records, e.CBOR)
		if limit == 0 && len(records) == 5000 {
			break
		}
	}
	return records
}

// measure trains on every other record and compresses the others one by one.
func measure(real [][]byte) error {
	var learnt, others [][]byte
	for i, record := range real {
		if i%2 == 0 {
			learnt = append(learnt, record)
		} else {
			others = append(others, record)
		}
	}
	made := synthetic(12, 0)
	fmt.Printf("%-10s %-9s %22s %22s %10s\n", "dictionary", "level", "real, bytes/record", "synthetic", "µs/record")
	fmt.Printf("%-10s %-9s %22.1f %22.1f\n", "no zstd", "", mean(others), mean(made))
	for _, size := range []int{0, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10} {
		for _, level := range []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault, zstd.SpeedBetterCompression} {
			opts := []zstd.EOption{
				zstd.WithEncoderLevel(level), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true),
				zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true),
			}
			if size > 0 {
				d, err := train(learnt, size, 1<<15)
				if err != nil {
					return err
				}
				opts = append(opts, zstd.WithEncoderDict(d))
			}
			z, err := zstd.NewWriter(nil, opts...)
			if err != nil {
				return err
			}
			start := time.Now()
			a, b := compressed(z, others), compressed(z, made)
			each := float64(time.Since(start).Microseconds()) / float64(len(others)+len(made))
			fmt.Printf("%-10d %-9s %22.1f %22.1f %10.1f\n", size, level, mean(a), mean(b), each)
		}
	}
	return nil
}

func compressed(z *zstd.Encoder, records [][]byte) (frames [][]byte) {
	for _, record := range records {
		frames = append(frames, z.EncodeAll(record, nil))
	}
	return frames
}

func mean(all [][]byte) float64 {
	n := 0
	for _, b := range all {
		n += len(b)
	}
	return float64(n) / float64(len(all))
}
