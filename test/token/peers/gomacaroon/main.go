// go-macaroon as the other party: commands and answers as in pymacaroons_peer.py.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"gopkg.in/macaroon.v2"
)

type command struct {
	Command, Version, Token, Discharge, Location, Key, Identifier string
	Caveats, Discharges                                           []string
}

type answer struct {
	Token  string `json:"token,omitempty"`
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"`
}

func read(text string) (*macaroon.Macaroon, error) {
	m := new(macaroon.Macaroon)
	if strings.HasPrefix(text, "{") {
		return m, m.UnmarshalJSON([]byte(text))
	}
	data, err := macaroon.Base64Decode([]byte(text))
	if err != nil {
		return nil, err
	}
	return m, m.UnmarshalBinary(data)
}

func readAll(texts []string) ([]*macaroon.Macaroon, error) {
	var all []*macaroon.Macaroon
	for _, text := range texts {
		m, err := read(text)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

func write(m *macaroon.Macaroon, version string) (string, error) {
	if version == "json" {
		data, err := m.MarshalJSON()
		return string(data), err
	}
	data, err := m.MarshalBinary()
	return base64.RawURLEncoding.EncodeToString(data), err
}

func add(m *macaroon.Macaroon, caveats []string) error {
	for _, caveat := range caveats {
		if err := m.AddFirstPartyCaveat([]byte(caveat)); err != nil {
			return err
		}
	}
	return nil
}

func satisfied(caveats []string) func(string) error {
	return func(caveat string) error {
		for _, known := range caveats {
			if known == caveat {
				return nil
			}
		}
		return fmt.Errorf("not satisfied: %q", caveat)
	}
}

func run(c command) (answer, error) {
	var m *macaroon.Macaroon
	var err error
	if c.Command == "mint" {
		version := macaroon.V2
		if c.Version == "v1" {
			version = macaroon.V1
		}
		m, err = macaroon.New([]byte(c.Key), []byte(c.Identifier), c.Location, version)
	} else {
		m, err = read(c.Token)
	}
	if err != nil {
		return answer{Reason: err.Error()}, nil
	}
	switch c.Command {
	case "verify":
		discharges, err := readAll(c.Discharges)
		if err == nil {
			err = m.Verify([]byte(c.Key), satisfied(c.Caveats), discharges)
		}
		if err != nil {
			return answer{Reason: err.Error()}, nil
		}
		return answer{OK: true}, nil
	case "bind":
		var discharge *macaroon.Macaroon
		discharge, err = read(c.Discharge)
		if err == nil {
			discharge.Bind(m.Signature())
			m = discharge
		}
	case "third-party":
		err = m.AddThirdPartyCaveat([]byte(c.Key), []byte(c.Identifier), c.Location)
	default:
		err = add(m, c.Caveats)
	}
	if err != nil {
		return answer{}, err
	}
	token, err := write(m, c.Version)
	return answer{Token: token}, err
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			panic(err)
		}
		a, err := run(c)
		if err != nil {
			panic(err)
		}
		text, err := json.Marshal(a)
		if err != nil {
			panic(err)
		}
		fmt.Println(string(text))
	}
}
