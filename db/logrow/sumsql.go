package logrow

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"

	"modernc.org/sqlite"

	"weft.dev/weft/db/codec"
)

// checksumFunction is an aggregate function of SQL that adds up the checksums of rows where they are read: to hand each
// row and each of its columns to database/sql takes three times as long as the rest. Its first argument is the kind of
// row, the others are columns.
const checksumFunction = "weft_checksum"

func init() {
	sqlite.MustRegisterFunction(checksumFunction, &sqlite.FunctionImpl{
		NArgs: -1,
		MakeAggregate: func(sqlite.FunctionContext) (sqlite.AggregateFunction, error) {
			return &checksumAggregate{}, nil
		},
		VolatileArgs: true, // Step keeps none of its arguments
	})
}

// sumQuery is how a table's rows are added up, between two values of its key.
type sumQuery struct{ call, table, key string }

var (
	sumLogRows = sumQuery{"'r', " + rowColumns, "records", "seq"}
	sumFirst   = sumQuery{"'l', " + firstColumns, "records", "source IS NOT NULL AND seq"}
	sumLinks   = sumQuery{"'l', " + LinkColumns, "more_links", "id"}
	sumStatus  = sumQuery{"'a', id, status, ifnull(since_us, 0)", "actors NOT INDEXED", "status <> 0 AND id"}
	sumActors  = sumQuery{"'d', id, 0, did", "actors NOT INDEXED", "id"}
	sumNSIDs   = sumQuery{"'c', id, 0, nsid", "collections NOT INDEXED", "id"}
	sumPaths   = sumQuery{"'s', id, collection, path", "sources", "id"}
)

// sumSpan is how many values of a key one query takes: enough that its cost is none, and few enough that it is over
// soon.
const sumSpan = 1 << 20

// add is the sum over the rows whose key is from first to last, in steps of values of the key.
func (s *Adder) add(ctx context.Context, q sumQuery, first, last, step int64) (sum uint64, err error) {
	query := "SELECT ifnull(" + checksumFunction + "(" + q.call + "), 0), count(*) FROM " + q.table + " WHERE " + q.key +
		" BETWEEN ? AND ?"
	for first <= last {
		end := last
		if last-first >= step {
			end = first + step - 1
		}
		var part, rows int64
		if err := s.Q.QueryRowContext(ctx, query, first, end).Scan(&part, &rows); err != nil {
			return 0, err
		}
		sum += uint64(part)
		s.Rows += rows
		if s.Progress != nil {
			s.Progress(s.Rows)
		}
		if end == last {
			break // first may not grow beyond what fits
		}
		first = end + 1
	}
	return sum, nil
}

// checksumAggregate is a call of the function.
type checksumAggregate struct {
	sum  uint64
	rkey []byte // scratch
}

func (a *checksumAggregate) Step(_ *sqlite.FunctionContext, args []driver.Value) error {
	kind, ok := args[0].(string)
	if !ok || len(kind) != 1 {
		return errors.New("no kind of row is given")
	}
	p := columns{args: args[1:]}
	switch kind[0] {
	case sumOfRow:
		r := Row{Seq: p.number(), TimeUS: int64(p.number()), Op: Op(p.small()), Actor: p.number(),
			Collection: p.number()}
		r.Rkey = p.rkey(a.rkey[:0])
		r.Rev, r.Status = p.number(), p.small()
		if r.Rkey != nil {
			a.rkey = r.Rkey
		}
		a.sum += r.checksum()
	case sumOfLink:
		l := LinkRow{ID: p.number(), Op: p.small(), Source: p.number(), Target: p.bytes(), Rank: int64(p.number())}
		a.sum += l.checksum()
	case sumOfStatus:
		s := StatusRow{Actor: p.number(), Status: Status(p.small()), SinceUS: int64(p.number())}
		a.sum += s.Checksum()
	default:
		id := p.number()
		collection := p.number()
		name := p.text()
		a.sum += NameSum(kind[0], id, collection, name)
	}
	if p.err != nil {
		return fmt.Errorf("row %v: %w", args[1], p.err)
	}
	return nil
}

func (a *checksumAggregate) WindowInverse(*sqlite.FunctionContext, []driver.Value) error {
	return errors.New("it is no window function")
}

func (a *checksumAggregate) WindowValue(*sqlite.FunctionContext) (driver.Value, error) {
	return int64(a.sum), nil
}

func (a *checksumAggregate) Final(*sqlite.FunctionContext) {}

// columns takes the columns of a row one by one. The first that is of another type than it must be is an error.
type columns struct {
	args []driver.Value
	err  error
}

func (c *columns) next() (v driver.Value) {
	v = c.args[0]
	c.args = c.args[1:]
	return v
}

func (c *columns) wrong(v driver.Value) {
	if c.err == nil {
		c.err = fmt.Errorf("a column holds %v, of type %T", v, v)
	}
}

func (c *columns) number() uint64 {
	v := c.next()
	n, ok := v.(int64)
	if !ok {
		c.wrong(v)
	}
	return uint64(n)
}

func (c *columns) small() uint8 {
	n := c.number()
	if n > 255 {
		c.wrong(int64(n))
	}
	return uint8(n)
}

func (c *columns) bytes() []byte {
	v := c.next()
	b, ok := v.([]byte)
	if !ok {
		c.wrong(v)
	}
	return b
}

func (c *columns) text() string {
	v := c.next()
	s, ok := v.(string)
	if !ok {
		c.wrong(v)
	}
	return s
}

// rkey encodes what codec.RkeyColumn stored, into dst.
func (c *columns) rkey(dst []byte) []byte {
	v := c.next()
	if s, ok := v.(string); ok {
		return codec.AppendRkey(dst, s)
	}
	rkey, err := codec.DecodeRkeyColumn(v)
	if err != nil {
		c.wrong(v)
	}
	return rkey
}
