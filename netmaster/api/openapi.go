package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gorilla/mux"
	"github.com/swaggest/jsonschema-go"
	"github.com/swaggest/openapi-go/openapi31"

	"github.com/contiv/contiv/install/version"
	"github.com/contiv/contiv/netmaster/client"
)

// The OpenAPI document is made of three things that the server itself runs on: the router says which paths and methods
// there are, the Go types of requests and answers say what they look like, and operationDocs says the rest. A test holds
// it against the router, and against what the handlers really take and answer.

// schemaPath is where schemas are in the document.
const schemaPath = "#/components/schemas/"

// The words of the two forms in which errors are answered.
const (
	plainText = "text/plain"
	jsonType  = "application/json"
)

// operation is what is to be said of one method of one path.
type operation struct {
	id, tag, summary string
	description      string
	// parameters names query and header parameters, see parameterDocs; those in the path are found there.
	parameters []string
	// filters are the members that a list can be chosen by; headers, those of the answer, see headerDocs.
	filters fields
	headers []string
	// body and answer are values of the types that are decoded and encoded; nil: there is no body, or the answer is text.
	body, answer any
	// required are the members that the body must have.
	required []string
	// kind is the media type of the answer; empty: JSON, or plain text without an answer.
	kind string
	// errors are the statuses beside 200, and beside 405, 500 and 503, which everything may answer.
	errors []int
}

// openAPI answers the document.
func (s *server) openAPI(*http.Request) (any, error) {
	return s.document()
}

// describe makes the document. What is wrong with it is logged and found by a test; it is served all the same.
func (s *server) describe(router *mux.Router) (json.RawMessage, error) {
	data, err := buildDocument(router, operationDocs(s.collections))
	if data == nil {
		return nil, err
	}
	if err != nil {
		s.Log.WithError(err).Warn("the OpenAPI document is not complete")
	}
	return data, nil
}

// buildDocument makes the document of everything that a router serves. An error lists what is not described, and what
// is described and not there; the document then holds the rest.
func buildDocument(router *mux.Router, docs map[string]operation) (json.RawMessage, error) {
	b := &documentBuilder{
		docs: docs, schemas: map[string]map[string]any{}, paths: map[string]openapi31.PathItem{}, seen: map[string]bool{},
	}
	if err := router.Walk(b.route); err != nil {
		return nil, fmt.Errorf("describing the REST server: %w", err)
	}
	for name := range docs {
		if !b.seen[name] {
			b.problems = append(b.problems, fmt.Errorf("%s is described and there is no such route", name))
		}
	}
	data, err := json.Marshal(b.spec())
	if err != nil {
		return nil, fmt.Errorf("encoding the description of the REST server: %w", err)
	}
	return data, errors.Join(b.problems...)
}

type documentBuilder struct {
	docs     map[string]operation
	seen     map[string]bool
	schemas  map[string]map[string]any
	paths    map[string]openapi31.PathItem
	problems []error
}

var (
	pathVariable = regexp.MustCompile(`\{([a-z]+)(:[^}]*(\[[^\]]*\])?)?\}`)
	// genericName takes a type such as Inspection[a/b/client.Network,...] apart.
	genericName = regexp.MustCompile(`^Inspection\[.*?\.(\w+),.*\]$`)
)

// documentedPath is a path of the router as OpenAPI writes it. Below /api/v1/ it ends with a slash, as stock clients
// write it, but for files.
func documentedPath(template string) string {
	path := strings.TrimSuffix(template, optionalSlash)
	path = pathVariable.ReplaceAllString(path, "{$1}")
	if strings.HasPrefix(path, "/api/v1/") && !strings.HasSuffix(path, ".json") {
		path += "/"
	}
	return path
}

// route describes one route of the router.
func (b *documentBuilder) route(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
	template, err := route.GetPathTemplate()
	if err != nil {
		return fmt.Errorf("a route without a path: %w", err)
	}
	path := documentedPath(template)
	served, ok := route.GetHandler().(endpoint)
	if !ok {
		b.problems = append(b.problems, fmt.Errorf("%s is not served by an endpoint", path))
		return nil
	}
	item := b.paths[path]
	for method, answers := range served.table() {
		if answers == nil || method == http.MethodHead {
			continue
		}
		described := b.operation(method, path)
		switch method {
		case http.MethodGet:
			item.Get = described
		case http.MethodPost:
			item.Post = described
		case http.MethodPut:
			item.Put = described
		case http.MethodDelete:
			item.Delete = described
		}
	}
	b.paths[path] = item
	return nil
}

func (b *documentBuilder) operation(method, path string) *openapi31.Operation {
	name := method + " " + path
	b.seen[name] = true
	doc, ok := b.docs[name]
	if !ok {
		b.problems = append(b.problems, fmt.Errorf("%s is served and not described", name))
		doc = operation{id: strings.ToLower(method) + strings.NewReplacer("/", "-", "{", "", "}", "").Replace(path), summary: "not described"}
	}
	out := &openapi31.Operation{ID: &doc.id, Summary: &doc.summary, Responses: b.responses(doc)}
	if doc.description != "" {
		out.Description = &doc.description
	}
	if doc.tag != "" {
		out.Tags = []string{doc.tag}
	}
	for _, variable := range regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(path, -1) {
		about := variable[0]
		if about == "{key}" && strings.Contains(path, "/endpoints/") {
			about = "{endpoint}"
		}
		out.Parameters = append(out.Parameters, b.parameter(variable[1], about, path))
	}
	for _, name := range doc.parameters {
		out.Parameters = append(out.Parameters, b.parameter(name, name, path))
	}
	for _, f := range doc.filters {
		out.Parameters = append(out.Parameters, filterParameter(f))
	}
	if doc.body != nil {
		yes := true
		body := b.schemaOf(doc.body, doc.required)
		out.RequestBody = &openapi31.RequestBodyOrReference{RequestBody: &openapi31.RequestBody{
			Required: &yes, Content: map[string]openapi31.MediaType{jsonType: {Schema: body}},
		}}
	}
	return out
}

// parameter describes a parameter with what parameterDocs has under about.
func (b *documentBuilder) parameter(name, about, path string) openapi31.ParameterOrReference {
	doc, ok := parameterDocs[about]
	if !ok {
		b.problems = append(b.problems, fmt.Errorf("parameter %q of %s is not described", name, path))
		doc = parameter{in: "query", description: "not described"}
	}
	out := openapi31.Parameter{Name: name, In: openapi31.ParameterIn(doc.in), Description: &doc.description}
	out.Schema = map[string]any{"type": "string"}
	if doc.kind != "" {
		out.Schema["type"] = doc.kind
	}
	if len(doc.allowed) > 0 {
		out.Schema["enum"] = doc.allowed
	}
	if doc.in == "" {
		yes := true
		out.In, out.Required = openapi31.ParameterInPath, &yes
	}
	return openapi31.ParameterOrReference{Parameter: &out}
}

// filterParameter describes the choice of objects by a member.
func filterParameter(f field) openapi31.ParameterOrReference {
	about, kind := "only those whose "+f.name+" is this", "string"
	if f.number {
		kind = "integer"
	}
	return openapi31.ParameterOrReference{Parameter: &openapi31.Parameter{
		Name: f.name, In: openapi31.ParameterInQuery, Description: &about, Schema: map[string]any{"type": kind},
	}}
}

// responses describes the answers of an operation.
func (b *documentBuilder) responses(doc operation) *openapi31.Responses {
	success := openapi31.Response{Description: "done"}
	switch {
	case doc.kind != "":
		success.Content = map[string]openapi31.MediaType{doc.kind: {Schema: map[string]any{"type": "string"}}}
	case doc.answer != nil:
		success.Content = map[string]openapi31.MediaType{jsonType: {Schema: b.schemaOf(doc.answer, nil)}}
	default:
		success.Content = map[string]openapi31.MediaType{plainText: {Schema: map[string]any{"type": "string"}}}
	}
	success.Headers = headersOf(doc)
	out := &openapi31.Responses{MapOfResponseOrReferenceValues: map[string]openapi31.ResponseOrReference{}}
	if !slices.Contains(doc.errors, http.StatusGone) {
		out.MapOfResponseOrReferenceValues["200"] = openapi31.ResponseOrReference{Response: &success}
	}
	for _, status := range append([]int{http.StatusMethodNotAllowed, http.StatusInternalServerError, http.StatusServiceUnavailable}, doc.errors...) {
		out.MapOfResponseOrReferenceValues[strconv.Itoa(status)] = openapi31.ResponseOrReference{
			Reference: &openapi31.Reference{Ref: "#/components/responses/" + errorName(status)},
		}
	}
	return out
}

func errorName(status int) string { return strings.ReplaceAll(http.StatusText(status), " ", "") }

// schemaOf describes the type of a value; required, if any, are members that it must have beside what the type says.
func (b *documentBuilder) schemaOf(value any, required []string) map[string]any {
	if kind := reflect.TypeOf(value); kind.Kind() == reflect.Slice {
		return map[string]any{"type": "array", "items": b.schemaOf(reflect.New(kind.Elem()).Elem().Interface(), nil)}
	}
	reflector := jsonschema.Reflector{}
	schema, err := reflector.Reflect(value,
		jsonschema.DefinitionsPrefix(schemaPath),
		jsonschema.RootRef,
		jsonschema.ProcessWithoutTags,
		jsonschema.CollectDefinitions(b.collect),
		jsonschema.InterceptDefName(schemaName),
		jsonschema.InterceptProp(describeMember),
		jsonschema.InterceptNullability(noNull),
	)
	if err == nil {
		var out map[string]any
		if out, err = schema.ToSchemaOrBool().ToSimpleMap(); err == nil {
			if len(required) > 0 {
				return map[string]any{"allOf": []any{out}, "required": required}
			}
			return out
		}
	}
	b.problems = append(b.problems, fmt.Errorf("describing %T: %w", value, err))
	return map[string]any{}
}

func (b *documentBuilder) collect(name string, schema jsonschema.Schema) {
	described, err := schema.ToSchemaOrBool().ToSimpleMap()
	if err != nil {
		b.problems = append(b.problems, fmt.Errorf("describing %s: %w", name, err))
		return
	}
	if old, ok := b.schemas[name]; ok && !reflect.DeepEqual(old, described) {
		b.problems = append(b.problems, fmt.Errorf("two types are called %s in the document", name))
	}
	b.schemas[name] = described
}

// schemaName is what a type is called in the document.
func schemaName(t reflect.Type, _ string) string {
	name := t.Name()
	if parts := genericName.FindStringSubmatch(name); parts != nil {
		return parts[1] + "Inspection"
	}
	switch {
	case strings.HasSuffix(t.PkgPath(), "/state"):
		return name + "Config" // the same objects with their links have the plain name
	case strings.HasSuffix(t.PkgPath(), "/distribute"), strings.HasSuffix(t.PkgPath(), "/protocol"):
		return "Agent" + name
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// describeMember says of a member whether it is always there, what it means and which words it takes.
func describeMember(p jsonschema.InterceptPropParams) error {
	if p.Field.Type == reflect.TypeFor[client.NoOper]() {
		return jsonschema.ErrSkipProperty
	}
	if !p.Processed {
		return nil
	}
	tag := p.Field.Tag.Get("json")
	if tag != "" && !strings.Contains(tag, ",omit") {
		p.ParentSchema.Required = append(p.ParentSchema.Required, p.Name)
	}
	about, ok := memberDocs[p.Name]
	if !ok || p.PropertySchema.Ref != nil {
		return nil
	}
	if about.description != "" {
		p.PropertySchema.WithDescription(about.description)
	}
	if len(about.allowed) > 0 && p.PropertySchema.HasType(jsonschema.String) {
		for _, word := range about.allowed {
			p.PropertySchema.Enum = append(p.PropertySchema.Enum, word)
		}
	}
	return nil
}

// noNull: what is left out is not there; only lists and maps without omitempty may be null.
func noNull(p jsonschema.InterceptNullabilityParams) {
	if p.Type.Kind() == reflect.Pointer && p.Schema.Ref == nil {
		p.Schema.RemoveType(jsonschema.Null)
	}
}

// spec puts the document together.
func (b *documentBuilder) spec() *openapi31.Spec {
	about := "Paths below /api/v1/ are accepted with and without the slash at their end. PUT and POST are the same: they create " +
		"the object, or replace what may change of it. Errors are plain text or, for clients that accept JSON, problems as in " +
		"RFC 9457. GET is also answered to HEAD."
	token := "the token of a login at an authenticating proxy in front of netmaster; netmaster itself asks for none yet"
	return &openapi31.Spec{
		Openapi:  "3.1.0",
		Info:     openapi31.Info{Title: "Contiv netmaster", Version: version.Get().Version, Description: &about},
		Paths:    &openapi31.Paths{MapOfPathItemValues: b.paths},
		Security: []map[string][]string{{}, {"token": {}}},
		Components: &openapi31.Components{
			Schemas:   b.withProblem(),
			Responses: errorResponses(),
			SecuritySchemes: map[string]openapi31.SecuritySchemeOrReference{"token": {SecurityScheme: &openapi31.SecurityScheme{
				Description: &token,
				APIKey:      &openapi31.SecuritySchemeAPIKey{Name: client.TokenHeader, In: openapi31.SecuritySchemeAPIKeyInHeader},
			}}},
		},
	}
}

func (b *documentBuilder) withProblem() map[string]map[string]any {
	b.schemaOf(client.Problem{}, nil)
	return b.schemas
}

// errorResponses are the errors that operations refer to.
func errorResponses() map[string]openapi31.ResponseOrReference {
	out := make(map[string]openapi31.ResponseOrReference, len(errorDocs))
	for status, words := range errorDocs {
		response := openapi31.Response{Description: words, Content: map[string]openapi31.MediaType{
			plainText:          {Schema: map[string]any{"type": "string"}},
			client.ProblemType: {Schema: map[string]any{"$ref": schemaPath + "Problem"}},
		}}
		switch status {
		case http.StatusServiceUnavailable:
			response.Headers = header("Retry-After", "seconds after which it makes sense to try again")
		case http.StatusMethodNotAllowed:
			response.Headers = header("Allow", "the methods that the path takes")
		}
		out[errorName(status)] = openapi31.ResponseOrReference{Response: &response}
	}
	return out
}

func header(name, words string) map[string]openapi31.HeaderOrReference {
	return map[string]openapi31.HeaderOrReference{name: {Header: &openapi31.Header{
		Description: &words, Schema: map[string]any{"type": "string"},
	}}}
}

// headersOf are the headers of a success.
func headersOf(doc operation) map[string]openapi31.HeaderOrReference {
	out := map[string]openapi31.HeaderOrReference{}
	for _, name := range doc.headers {
		maps.Copy(out, header(name, headerDocs[name]))
	}
	if doc.body != nil {
		maps.Copy(out, header("Warning", "what was accepted and has no effect yet: 299 - \"text\", as in RFC 7234"))
	}
	return out
}
