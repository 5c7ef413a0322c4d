// Runs the health checks of docs/gitops.md as Argo CD and Flux do, on records with each condition that the program writes.
//
// Argo CD runs Lua with gopher-lua, and Flux evaluates CEL with cel-go. Usage: health PAGE RECORDS
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"
	lua "github.com/yuin/gopher-lua"
	"sigs.k8s.io/yaml"
)

// The kinds of records, each of which needs expressions for Flux.
var kinds = []string{"Company", "Person", "Note"}

// A state of a record, and what both tools must make of it.
type record struct {
	Name   string         `json:"name"`
	Status map[string]any `json:"status"`
	Argo   string         `json:"argo"`
	// The message that Argo CD must show, if given.
	Message string `json:"message"`
	Flux    string `json:"flux"`
}

// The generation of each record.
const generation = 3

// The expressions for one kind.
type expressions struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Current    string `json:"current"`
	Failed     string `json:"failed"`
	InProgress string `json:"inProgress"`
}

func main() {
	if len(os.Args) != 3 {
		fail("usage: health PAGE RECORDS")
	}
	page, err := os.ReadFile(os.Args[1])
	check(err)
	text, err := os.ReadFile(os.Args[2])
	check(err)
	var records []record
	check(yaml.UnmarshalStrict(text, &records))
	script := scriptOf(string(page))
	checks := expressionsOf(string(page))
	wrong := 0
	complain := func(tool, kind, name, expected, got string) {
		if expected != got {
			fmt.Fprintf(os.Stderr, "%s, %s, %s: expected %s, got %s\n", tool, kind, name, expected, got)
			wrong++
		}
	}
	for _, record := range records {
		for _, kind := range kinds {
			object := objectOf(kind, record)
			status, message := health(script, object)
			complain("Argo CD", kind, record.Name, record.Argo, status)
			if record.Message != "" {
				complain("Argo CD's message", kind, record.Name, record.Message, message)
			}
			complain("Flux", kind, record.Name, record.Flux, evaluate(checks[kind], object))
		}
	}
	if len(records) == 0 || wrong > 0 {
		fail(fmt.Sprintf("%d of the health checks of %d records are wrong", wrong, len(records)))
	}
	fmt.Printf("right: the health checks of %d records by Argo CD and Flux\n", len(records))
}

// The record as the API server returns it. Clients read whole numbers as int64.
func objectOf(kind string, record record) map[string]any {
	object := map[string]any{
		"apiVersion": "crm.milo.io/v1alpha1",
		"kind":       kind,
		"metadata":   map[string]any{"name": "acme", "generation": int64(generation)},
		"spec":       map[string]any{},
	}
	if record.Status != nil {
		object["status"] = whole(record.Status)
	}
	return object
}

func whole(value any) any {
	switch value := value.(type) {
	case float64:
		return int64(value)
	case map[string]any:
		changed := map[string]any{}
		for key, entry := range value {
			changed[key] = whole(entry)
		}
		return changed
	case []any:
		changed := make([]any, len(value))
		for index, entry := range value {
			changed[index] = whole(entry)
		}
		return changed
	default:
		return value
	}
}

// The YAML blocks of the page that contain a text.
func blocks(page, text string) []string {
	var found []string
	for _, rest := range strings.Split(page, "```yaml\n")[1:] {
		block, _, _ := strings.Cut(rest, "```")
		if strings.Contains(block, text) {
			found = append(found, block)
		}
	}
	return found
}

func only(found []string, what string) string {
	if len(found) != 1 {
		fail(fmt.Sprintf("the page has %d blocks with %s, and not one", len(found), what))
	}
	return found[0]
}

// The script for Argo CD's ConfigMap.
func scriptOf(page string) string {
	var configMap struct {
		Data map[string]string `json:"data"`
	}
	check(yaml.Unmarshal([]byte(only(blocks(page, "health.lua"), "health.lua")), &configMap))
	var customizations map[string]map[string]string
	check(yaml.Unmarshal([]byte(configMap.Data["resource.customizations"]), &customizations))
	script := customizations["crm.milo.io/*"]["health.lua"]
	if script == "" {
		fail("the page has no script for crm.milo.io/*")
	}
	return script
}

// The expressions for Flux's Kustomization, by kind.
func expressionsOf(page string) map[string]expressions {
	var kustomization struct {
		Spec struct {
			HealthCheckExprs []expressions `json:"healthCheckExprs"`
		} `json:"spec"`
	}
	block := only(blocks(page, "healthCheckExprs"), "healthCheckExprs")
	check(yaml.Unmarshal([]byte(block), &kustomization))
	found := map[string]expressions{}
	for _, each := range kustomization.Spec.HealthCheckExprs {
		if each.APIVersion != "crm.milo.io/v1alpha1" || each.Current == "" || each.Failed == "" {
			fail("the expressions for " + each.Kind + " are not complete")
		}
		found[each.Kind] = each
	}
	for _, kind := range kinds {
		if _, ok := found[kind]; !ok {
			fail("the page has no expressions for " + kind)
		}
	}
	return found
}

// The health of an object and its message. As in Argo CD, the script has the libraries base, package and table, and one
// second.
func health(script string, object map[string]any) (string, string) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{
		{lua.LoadLibName, lua.OpenPackage},
		{lua.BaseLibName, lua.OpenBase},
		{lua.TabLibName, lua.OpenTable},
	} {
		function := lua.P{Fn: state.NewFunction(library.open), NRet: 0, Protect: true}
		check(state.CallByParam(function, lua.LString(library.name)))
	}
	limit, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	state.SetContext(limit)
	state.SetGlobal("obj", luaValue(state, object))
	if err := state.DoString(script); err != nil {
		return "error: " + err.Error(), ""
	}
	result, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return "no table, but " + state.Get(-1).Type().String(), ""
	}
	return result.RawGetString("status").String(), result.RawGetString("message").String()
}

func luaValue(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case bool:
		return lua.LBool(value)
	case int64:
		return lua.LNumber(value)
	case string:
		return lua.LString(value)
	case []any:
		list := state.NewTable()
		for _, entry := range value {
			list.Append(luaValue(state, entry))
		}
		return list
	case map[string]any:
		table := state.NewTable()
		for key, entry := range value {
			table.RawSetString(key, luaValue(state, entry))
		}
		return table
	default:
		return lua.LNil
	}
}

// What Flux makes of an object: the first expression that is true decides. An expression that reads a missing field is an
// error, which Flux reports as the status Unknown; it waits for another one, as without an expression that is true.
func evaluate(checks expressions, object map[string]any) string {
	for _, each := range []struct{ expression, status string }{
		{checks.InProgress, "waits"},
		{checks.Failed, "failed"},
		{checks.Current, "current"},
	} {
		if each.expression == "" {
			continue
		}
		isTrue, err := isTrue(each.expression, object)
		if err != nil && isAboutMissingField(err) {
			return "waits"
		}
		if err != nil {
			return "error: " + err.Error()
		}
		if isTrue {
			return each.status
		}
	}
	return "waits"
}

func isAboutMissingField(err error) bool {
	return strings.Contains(err.Error(), "no such attribute") || strings.Contains(err.Error(), "no such key")
}

// Flux only parses an expression, because it does not know the fields of a kind.
func isTrue(expression string, object map[string]any) (bool, error) {
	environment, err := cel.NewEnv(
		cel.HomogeneousAggregateLiterals(),
		cel.EagerlyValidateDeclarations(true),
		cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true),
		cel.OptionalTypes(),
		ext.Strings(),
		ext.Sets(),
		ext.Encoders(),
	)
	check(err)
	parsed, issues := environment.Parse(expression)
	check(issues.Err())
	program, err := environment.Program(parsed, cel.EvalOptions(cel.OptOptimize), cel.InterruptCheckFrequency(100))
	check(err)
	value, _, err := program.ContextEval(context.Background(), object)
	if err != nil {
		return false, err
	}
	result, ok := value.(types.Bool)
	if !ok {
		text, _ := json.Marshal(value)
		return false, fmt.Errorf("no boolean, but %s", text)
	}
	return bool(result), nil
}

func check(err error) {
	if err != nil {
		fail(err.Error())
	}
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, "health: "+why)
	os.Exit(1)
}
