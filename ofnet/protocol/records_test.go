package protocol

import (
	"slices"
	"strings"
	"testing"
)

// TestProtocolsOnTheWire: a list of bytes is text in JSON unless it says otherwise.
func TestProtocolsOnTheWire(t *testing.T) {
	r, err := NewRecord("t:p:1", 1, &Rule{ID: 1, Protocols: Protocols{1, 58}})
	if err != nil || !strings.Contains(string(r.Body), `"protocols":[1,58]`) {
		t.Fatalf("%s, %v", r.Body, err)
	}
	body, err := r.Decode()
	if rule, ok := body.(*Rule); !ok || err != nil || !slices.Equal(rule.Protocols, Protocols{1, 58}) {
		t.Errorf("%+v, %v", body, err)
	}
}
