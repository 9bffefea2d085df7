package protocol_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/contiv/contiv/ofnet/protocol"
)

func document(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestDocumentNamesEverything: every method, kind and JSON member of the protocol is in docs/protocol.md.
func TestDocumentNamesEverything(t *testing.T) {
	text := document(t)
	files, err := filepath.Glob("../../ofnet/protocol/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal("no source of the protocol", err)
	}
	checked := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(node ast.Node) bool {
			switch n := node.(type) {
			case *ast.ValueSpec:
				name := n.Names[0].Name
				if strings.HasPrefix(name, "Method") || strings.HasPrefix(name, "Kind") {
					value, _ := strconv.Unquote(n.Values[0].(*ast.BasicLit).Value)
					checked++
					if !strings.Contains(text, "### "+value+"\n") {
						t.Errorf("%s: no heading %q", name, value)
					}
				}
			case *ast.Field:
				if n.Tag == nil {
					return true
				}
				tag, _ := strconv.Unquote(n.Tag.Value)
				member, _, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
				checked++
				if member != "-" && !strings.Contains(text, "`"+member+"`") {
					t.Errorf("%s: member %q is not described", file, member)
				}
			}
			return true
		})
	}
	if checked < 100 {
		t.Errorf("only %d names were found in the source", checked)
	}
}

// messages are the types of the parameters and answers of each method.
var messages = map[string][2]any{
	protocol.MethodRegister:       {protocol.RegisterRequest{}, protocol.RegisterReply{}},
	protocol.MethodPing:           {struct{}{}, struct{}{}},
	protocol.MethodCreateEndpoint: {protocol.CreateEndpointRequest{}, protocol.CreateEndpointReply{}},
	protocol.MethodSettleEndpoint: {protocol.SettleRequest{}, protocol.SettleReply{}},
	protocol.MethodDeleteEndpoint: {protocol.DeleteEndpointRequest{}, struct{}{}},
	protocol.MethodReserveAddress: {protocol.ReserveAddressRequest{}, protocol.ReserveAddressReply{}},
	protocol.MethodReleaseAddress: {protocol.ReleaseAddressRequest{}, struct{}{}},
	protocol.MethodCreateNetwork:  {protocol.CreateNetworkRequest{}, protocol.CreateNetworkReply{}},
	protocol.MethodDeleteNetwork:  {protocol.DeleteNetworkRequest{}, struct{}{}},
	protocol.MethodProviderEvent:  {protocol.ProviderEvent{}, struct{}{}},
	protocol.MethodAck:            {protocol.Ack{}, nil},
	protocol.MethodStatistics:     {protocol.Statistics{}, nil},
	protocol.MethodSnapshot:       {protocol.Snapshot{}, nil},
	protocol.MethodChange:         {protocol.Change{}, nil},
}

// TestExamplesDecode: every example of docs/protocol.md is a message of the protocol, every method has one.
func TestExamplesDecode(t *testing.T) {
	seen := map[string]bool{}
	for _, block := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(document(t), -1) {
		method := ""
		for line := range strings.Lines(block[1]) {
			var message struct {
				Method string          `json:"method"`
				Params json.RawMessage `json:"params"`
				Result json.RawMessage `json:"result"`
				Error  json.RawMessage `json:"error"`
				Kind   string          `json:"kind"`
			}
			if err := json.Unmarshal([]byte(line), &message); err != nil {
				t.Errorf("%s: %v", line, err)
				continue
			}
			var err error
			switch {
			case message.Method != "":
				method = message.Method
				seen[method] = true
				err = strict(message.Params, messages[method][0])
			case message.Result != nil:
				err = strict(message.Result, messages[method][1])
			case message.Kind != "":
				err = strict([]byte(line), protocol.Record{})
			case message.Error == nil:
				err = errors.New("neither call, answer, error nor record")
			}
			if err != nil {
				t.Errorf("%s: %v", line, err)
			}
		}
	}
	for method := range messages {
		if !seen[method] {
			t.Errorf("no example of %s", method)
		}
	}
}

// strict decodes into a new value of a type, with the bodies of all records in it; unknown members are errors.
func strict(data []byte, like any) error {
	if like == nil {
		return errors.New("the method has no answer")
	}
	value := reflect.New(reflect.TypeOf(like))
	if err := decodeStrictly(data, value.Interface()); err != nil {
		return err
	}
	records := []protocol.Record{}
	if record, ok := value.Interface().(*protocol.Record); ok {
		records = append(records, *record)
	} else if field := value.Elem().FieldByName("Records"); field.IsValid() {
		records = field.Interface().([]protocol.Record)
	}
	for _, record := range records {
		if record.Body == nil {
			continue
		}
		body, err := record.Decode()
		if err != nil {
			return err
		}
		if err := decodeStrictly(record.Body, body); err != nil {
			return fmt.Errorf("body of %s %q: %w", record.Kind, record.Key, err)
		}
	}
	return nil
}

func decodeStrictly(data []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the message")
	}
	return nil
}
