package api

// Describe is the OpenAPI document of a server, and what is wrong with it.
func Describe(opts Options) ([]byte, error) {
	s := newServer(opts)
	return buildDocument(s.router(), operationDocs(s.collections))
}
