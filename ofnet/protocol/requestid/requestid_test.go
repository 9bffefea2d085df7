package requestid

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestValid(t *testing.T) {
	for id, want := range map[string]bool{
		"": false, "a": true, "A-1.b_2/3:4": true, New(): true, strings.Repeat("x", MaxBytes): true,
		strings.Repeat("x", MaxBytes+1): false, "a b": false, "a\nb": false, "a\tb": false, "ä": false, "a\x7f": false,
		`say"so`: false, `a\b`: false,
	} {
		if Valid(id) != want {
			t.Errorf("%q: %v, want %v", id, !want, want)
		}
	}
}

func TestContext(t *testing.T) {
	if id := Of(t.Context()); id != "" {
		t.Errorf("an id %q from nowhere", id)
	}
	given := With(t.Context(), "mine")
	if Of(given) != "mine" || Of(Ensure(given)) != "mine" {
		t.Error("the id given is lost")
	}
	if made := Of(Ensure(t.Context())); !Valid(made) {
		t.Errorf("made %q", made)
	}
}

func TestFromMeta(t *testing.T) {
	for text, want := range map[string]string{
		`{"request":"mine","more":1}`: "mine", `{"request":"not mine"}`: "", `{"request":7}`: "", `[]`: "", `null`: "",
	} {
		raw := json.RawMessage(text)
		got := FromMeta(&raw)
		if want != "" && got != want || !Valid(got) || got == "not mine" {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	if !Valid(FromMeta(nil)) {
		t.Error("no meta, no id")
	}
}
