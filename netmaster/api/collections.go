package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/gorilla/mux"

	"github.com/contiv/contiv/netmaster/client"
	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// collection is the objects of one type as REST shows them. The reading functions answer nil for an unknown key.
type collection struct {
	name, kind string // "networks", "network"
	prefix     string // of the store keys, before the model key
	fields     fields // that lists can be filtered by
	perTenant  bool   // model keys begin with the tenant
	one        func(*ledger.Model, string) any
	show       func(*ledger.Model, state.Record) any // a form that the object had
	inspect    func(*ledger.Model, string) any
	put        func(ctx context.Context, key string, body []byte) error
	remove     func(ctx context.Context, key string) (int64, error) // nil: never
	warn       func(*ledger.Model, string) []string                 // of the object as it is now; nil: of nothing
	// complete, if not nil, adds to an inspection what the model does not know, while no view is open.
	complete func(r *http.Request, inspected any) any
}

// object is a pointer to an intent record.
type object[T any] interface {
	*T
	state.Record
	Key() string
}

// putter decodes an object, which must have the key of its URL, and stores it if it is at the version that the body
// names, if any.
func putter[T any, P object[T]](change Change[T]) func(context.Context, string, []byte) error {
	return func(ctx context.Context, key string, body []byte) error {
		sent := new(T)
		if err := decodeBody(body, sent); err != nil {
			return err
		}
		ctx, err := ifVersion(ctx, P(sent).StoreKey(), body)
		if err != nil {
			return err
		}
		if own := P(sent).Key(); own != key {
			return badRequest("Invalid Key: the URL says %q, the names in the object say %q", shorten(key), shorten(own))
		}
		_, err = change.Put(ctx, sent)
		return err
	}
}

// kind is what makes a collection of one type of object.
type kind[T any] struct {
	name, kind    string
	change        Change[T]
	find          func(*ledger.Model, string) *T // nil for an unknown key
	show, inspect func(*ledger.Model, *T) any
}

func collectionOf[T any, P object[T]](k kind[T]) collection {
	none := P(new(T))
	return collection{
		name: k.name, kind: k.kind,
		prefix: strings.TrimSuffix(none.StoreKey(), none.Key()), fields: fieldsOf[T](), perTenant: strings.HasPrefix(none.Key(), ":"),
		show: func(m *ledger.Model, record state.Record) any {
			typed, _ := record.(P)
			return known(m, (*T)(typed), k.show)
		},
		one:     func(m *ledger.Model, key string) any { return known(m, k.find(m, key), k.show) },
		inspect: func(m *ledger.Model, key string) any { return known(m, k.find(m, key), k.inspect) },
		put:     putter[T, P](k.change),
		remove:  k.change.Delete,
	}
}

func (s *server) tenants() collection {
	return collectionOf(kind[state.Tenant]{
		"tenants", "tenant", s.Changes.Tenants, (*ledger.Model).Tenant, tenant, inspectTenant,
	})
}

func (s *server) networks() collection {
	c := collectionOf(kind[state.Network]{
		"networks", "network", s.Changes.Networks, (*ledger.Model).Network, network, inspectNetwork,
	})
	c.warn = warnOfNetwork
	return c
}

func (s *server) groups() collection {
	c := collectionOf(kind[state.EndpointGroup]{
		"endpointGroups", "endpointGroup", s.Changes.Groups, (*ledger.Model).Group, group, inspectGroup,
	})
	c.warn, c.complete = warnOfGroup, s.reportGroup()
	return c
}

func (s *server) globals() collection {
	find := func(m *ledger.Model, key string) *state.Global {
		if key != state.GlobalName {
			return nil
		}
		return m.Global()
	}
	inspect := func(m *ledger.Model, g *state.Global) any {
		return client.Inspection[any, client.GlobalOper]{Config: global(m, g), Oper: globalOper(m, g, s.Mode)}
	}
	c := collectionOf(kind[state.Global]{"globals", "global", s.Changes.Globals, find, global, inspect})
	c.warn = warnOfGlobal
	return c
}

// known shows a record, nil if there is none.
func known[T any](m *ledger.Model, record *T, show func(*ledger.Model, *T) any) any {
	if record == nil {
		return nil
	}
	return show(m, record)
}

// view reads the model as the request asks: current, or what is at hand with ?consistency=cache.
func (s *server) view(r *http.Request, read func(*ledger.Model)) error {
	switch wanted := r.URL.Query().Get("consistency"); wanted {
	case "":
		return s.Reader.View(r.Context(), read)
	case "cache":
		s.Reader.ViewCached(read)
		return nil
	default:
		return badRequest("consistency %q is unknown; leave it out or use \"cache\"", shorten(wanted))
	}
}

func (s *server) inspect(c collection) answer {
	found := s.found(c.kind, c.inspect)
	if c.complete == nil {
		return found
	}
	return s.forReports(func(r *http.Request) (any, error) {
		out, err := found(r)
		if err != nil {
			return nil, err
		}
		return c.complete(r, out), nil
	})
}

// found answers what find gives for the key in the URL.
func (s *server) found(kind string, find func(*ledger.Model, string) any) answer {
	return func(r *http.Request) (out any, err error) {
		key := mux.Vars(r)["key"]
		if err := s.view(r, func(m *ledger.Model) { out = find(m, key) }); err != nil {
			return nil, err
		}
		if out == nil {
			return nil, notFound(kind, shorten(key))
		}
		return out, nil
	}
}

func (s *server) put(c collection) answer {
	return func(r *http.Request) (out any, err error) {
		key := mux.Vars(r)["key"]
		body, err := readBody(r)
		if err != nil {
			return nil, err
		}
		ctx, err := c.ifMatch(r, key)
		if err != nil {
			return nil, err
		}
		if err := c.put(ctx, key, body); err != nil {
			return nil, err
		}
		var warnings []string
		s.Reader.ViewCached(func(m *ledger.Model) {
			if out = c.tagged(m, key); c.warn != nil {
				warnings = c.warn(m, key)
			}
		})
		if out == nil {
			return nil, &statusError{http.StatusConflict, fmt.Sprintf("%s %q was stored and deleted again at once", c.kind, key)}
		}
		return warned{out, warnings}, nil
	}
}

func (s *server) remove(c collection) answer {
	return func(r *http.Request) (any, error) {
		key := mux.Vars(r)["key"]
		if c.remove == nil {
			return nil, &statusError{http.StatusConflict, fmt.Sprintf("%s %q cannot be deleted: every cluster has it", c.kind, shorten(key))}
		}
		ctx, err := c.ifMatch(r, key)
		if err != nil {
			return nil, err
		}
		if _, err := c.remove(ctx, key); err != nil {
			return nil, err
		}
		return key, nil
	}
}

func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, &statusError{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit)}
	}
	if err != nil {
		return nil, badRequest("reading the body: %v", err)
	}
	return body, nil
}

// decodeBody reads one JSON object. Members that are not known, among them key, links and link-sets, are ignored.
func decodeBody(body []byte, into any) error {
	if !utf8.Valid(body) {
		return badRequest("the body is not UTF-8 text, as JSON must be")
	}
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return badRequest("the body must be a JSON object")
	}
	err := json.Unmarshal(body, into)
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		return badRequest("%s must be a %s, not a %s", wrong.Field, wordFor(wrong.Type.Kind().String()), wrong.Value)
	}
	if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
		return badRequest("the body is not JSON, at byte %d: %v", syntax.Offset, syntax)
	}
	if err != nil {
		return badRequest("the body is not JSON: %v", err)
	}
	return nil
}

// wordFor names a Go kind as JSON does.
func wordFor(kind string) string {
	switch {
	case strings.HasPrefix(kind, "int"):
		return "whole number"
	case kind == "slice":
		return "list"
	default:
		return kind
	}
}

// shorten keeps messages readable when somebody sends a book.
func shorten(text string) string {
	const most = 140
	if len(text) <= most {
		return text
	}
	return text[:most] + "..."
}
