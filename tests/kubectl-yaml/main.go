// Reads files as kubectl does and prints what it gets: one line of JSON for each file.
//
// Standard input holds the files, each after its length in bytes on a line of its own. They go the same way as in
// kubectl: the decoding of its FileVisitor, the YAMLOrJSONDecoder, which cuts a stream into documents and turns each
// into JSON, and the decoder of unstructured objects.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	yamlv2 "go.yaml.in/yaml/v2"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"
)

// Result is what kubectl makes of one file.
type Result struct {
	// Documents has the values that are not empty, up to the first error.
	Documents []any  `json:"documents"`
	Error     string `json:"error,omitempty"`
	// Duplicates, LeftOut and Depth describe what kubectl reads without a word.
	Duplicates bool `json:"duplicates"`
	LeftOut    bool `json:"leftOut"`
	Depth      int  `json:"depth"`
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for {
		line, err := in.ReadString('\n')
		if err == io.EOF {
			return
		}
		length, err := strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			panic(err)
		}
		file := make([]byte, length)
		if _, err := io.ReadFull(in, file); err != nil {
			panic(err)
		}
		answer, err := json.Marshal(read(file))
		if err != nil {
			panic(err)
		}
		fmt.Fprintf(out, "%s\n", answer)
		if in.Buffered() == 0 {
			out.Flush()
		}
	}
}

// read does what StreamVisitor does in k8s.io/cli-runtime/pkg/resource.
func read(file []byte) (result Result) {
	result.Documents = []any{}
	defer func() {
		if panicked := recover(); panicked != nil {
			result.Error = fmt.Sprintf("panic: %v", panicked)
		}
	}()
	utf8, err := io.ReadAll(transform.NewReader(bytes.NewReader(file), unicode.BOMOverride(unicode.UTF8.NewDecoder())))
	if err != nil {
		result.Error = err.Error()
		return result
	}
	result.describe(afterJSON(utf8))
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(utf8), 4096)
	for {
		ext := runtime.RawExtension{}
		if err := decoder.Decode(&ext); err != nil {
			if err != io.EOF {
				result.Error = err.Error()
			}
			return result
		}
		raw := bytes.TrimSpace(ext.Raw)
		if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
			continue
		}
		var value any
		strict, err := kjson.UnmarshalStrict(raw, &value, kjson.DisallowDuplicateFields)
		if err != nil {
			result.Error = err.Error()
			return result
		}
		result.Duplicates = result.Duplicates || len(strict) > 0
		result.Depth = max(result.Depth, depth(value))
		result.Documents = append(result.Documents, value)
	}
}

// afterJSON is the part of a stream that is read as YAML, which may be all of it.
func afterJSON(stream []byte) []byte {
	if !yaml.IsJSONBuffer(stream[:min(len(stream), 4096)]) {
		return stream
	}
	decoder := json.NewDecoder(bytes.NewReader(stream))
	for count := 0; ; count++ {
		offset := decoder.InputOffset()
		var value json.RawMessage
		if err := decoder.Decode(&value); err == nil {
			continue
		} else if err == io.EOF || count > 1 {
			return nil
		}
		rest := stream[offset:]
		if line := bytes.IndexByte(rest, '\n'); line >= 0 && len(bytes.TrimSpace(rest[:line])) == 0 {
			return rest[line+1:]
		}
		return bytes.TrimSpace(rest)
	}
}

// describe looks at the parts that kubectl cuts a stream of YAML into.
func (result *Result) describe(stream []byte) {
	reader := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(stream)))
	for {
		part, err := reader.Read()
		if err != nil {
			return
		}
		decoder := yamlv2.NewDecoder(bytes.NewReader(part))
		var first, second any
		if decode(decoder, &first) == nil {
			result.LeftOut = result.LeftOut || !errors.Is(decode(decoder, &second), io.EOF)
		}
		result.Duplicates = result.Duplicates || hasDuplicates(part)
	}
}

func decode(decoder *yamlv2.Decoder, into any) (err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panic: %v", panicked)
		}
	}()
	return decoder.Decode(into)
}

// hasDuplicates says whether a map has two keys that are the same in JSON.
func hasDuplicates(part []byte) (found bool) {
	defer func() {
		_ = recover()
	}()
	var root any
	if yamlv2.Unmarshal(part, &root) != nil {
		return false
	}
	// In values of this type, maps keep the keys that they have twice.
	if _, isList := root.([]any); isList {
		var list []yamlv2.MapSlice
		_ = yamlv2.Unmarshal(part, &list)
		return repeats(list)
	}
	var fields yamlv2.MapSlice
	_ = yamlv2.Unmarshal(part, &fields)
	return repeats(fields)
}

func repeats(value any) bool {
	switch value := value.(type) {
	case yamlv2.MapSlice:
		known := map[string]bool{}
		for _, item := range value {
			key := fmt.Sprint(item.Key)
			if known[key] || repeats(item.Value) {
				return true
			}
			known[key] = true
		}
	case []yamlv2.MapSlice:
		for _, entry := range value {
			if repeats(entry) {
				return true
			}
		}
	case []any:
		for _, entry := range value {
			if repeats(entry) {
				return true
			}
		}
	}
	return false
}

func depth(value any) int {
	deepest := 0
	switch value := value.(type) {
	case map[string]any:
		for _, field := range value {
			deepest = max(deepest, 1+depth(field))
		}
	case []any:
		for _, entry := range value {
			deepest = max(deepest, 1+depth(entry))
		}
	}
	return deepest
}
