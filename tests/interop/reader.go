// Command reader reads session payloads the way SCS for Go reads them, so that
// the tests can ask what a Go program would get from a payload.
//
// Each line of standard input is a JSON object:
//
//	{"payload": "<base64 of the payload>", "reads": [["key", "string"], ["n", "int"]]}
//
// The types are string, bool, int, float, time and bytes. For each line one
// JSON object is written to standard output:
//
//	{"deadline": 0, "keys": ["key", "n"], "values": [{"ok": true, "value": "..."}, {"ok": false, "error": "..."}]}
//
// The values come in the order of the reads, as text: a string as it is, a bool
// as true or false, an int in decimal, a float in the shortest form of
// strconv's 'g' format, a time in RFC 3339 with as many fraction digits as it
// needs, bytes in padded standard base64. A key that the payload does not have
// gives {"ok": true, "value": "", "missing": true}. A line or a payload that
// cannot be decoded gives {"error": "..."}.
//
// It needs only the standard library: go run reader.go
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strconv"
	"time"
)

// request is one line of input. encoding/json takes the base64 off payload.
type request struct {
	Payload []byte      `json:"payload"`
	Reads   [][2]string `json:"reads"`
}

// payload is what a session is stored as.
type payload struct {
	Data     map[string]interface{} `json:"data"`
	Deadline int64                  `json:"deadline"`
}

// answer is one line of output for a payload that could be decoded.
type answer struct {
	Deadline int64         `json:"deadline"`
	Keys     []string      `json:"keys"`
	Values   []interface{} `json:"values"`
}

type value struct {
	OK      bool   `json:"ok"`
	Value   string `json:"value"`
	Missing bool   `json:"missing,omitempty"`
}

type readError struct {
	OK    bool   `json:"ok"`
	Error string `json:"error"`
}

type lineError struct {
	Error string `json:"error"`
}

// decode keeps numbers as the literals of the payload. Like SCS it decodes the
// first JSON value and does not look at what follows it.
func decode(b []byte) (payload, error) {
	var p payload
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	err := d.Decode(&p)
	return p, err
}

// read converts one decoded value. After decoding, a value is a string, a bool,
// a json.Number, nil, a list or a map. The last three have no type of their own
// and cannot be read as any.
func read(v interface{}, typ string) (string, error) {
	switch typ {
	case "string":
		if s, ok := v.(string); ok {
			return s, nil
		}
	case "bool":
		if b, ok := v.(bool); ok {
			return strconv.FormatBool(b), nil
		}
	case "int":
		if n, ok := v.(json.Number); ok {
			// The literal itself must be an integer: 1.0 and 1e3 are errors.
			i, err := strconv.Atoi(n.String())
			if err != nil {
				return "", err
			}
			return strconv.Itoa(i), nil
		}
	case "float":
		if n, ok := v.(json.Number); ok {
			f, err := n.Float64()
			if err != nil {
				return "", err
			}
			return strconv.FormatFloat(f, 'g', -1, 64), nil
		}
	case "time":
		if s, ok := v.(string); ok {
			t, err := time.Parse(time.RFC3339, s)
			if err != nil {
				return "", err
			}
			return t.Format(time.RFC3339Nano), nil
		}
	case "bytes":
		if s, ok := v.(string); ok {
			b, err := base64.StdEncoding.DecodeString(s)
			if err != nil {
				return "", err
			}
			return base64.StdEncoding.EncodeToString(b), nil
		}
	default:
		return "", fmt.Errorf("unknown type %q", typ)
	}
	return "", fmt.Errorf("%T cannot be read as %s", v, typ)
}

// reply gives the output for one line of input.
func reply(line []byte) interface{} {
	var r request
	if err := json.Unmarshal(line, &r); err != nil {
		return lineError{"input line: " + err.Error()}
	}
	p, err := decode(r.Payload)
	if err != nil {
		return lineError{err.Error()}
	}
	a := answer{Deadline: p.Deadline, Keys: []string{}, Values: []interface{}{}}
	for k := range p.Data {
		a.Keys = append(a.Keys, k)
	}
	sort.Strings(a.Keys)
	for _, kt := range r.Reads {
		v, found := p.Data[kt[0]]
		if !found {
			a.Values = append(a.Values, value{OK: true, Missing: true})
			continue
		}
		s, err := read(v, kt[1])
		if err != nil {
			a.Values = append(a.Values, readError{Error: err.Error()})
			continue
		}
		a.Values = append(a.Values, value{OK: true, Value: s})
	}
	return a
}

func run(in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	enc := json.NewEncoder(out)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if len(bytes.TrimSpace(line)) > 0 {
			if err := enc.Encode(reply(line)); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "reader:", err)
		os.Exit(1)
	}
}
