// Command health says what Argo CD makes of an object: it runs a health check in Lua, the file that its argument names, on the object in
// JSON on standard input, and prints the status and the message.
//
// As in Argo CD, the check finds the object in obj, has the libraries package, base and table, and ends after a second.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	lua "github.com/yuin/gopher-lua"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "health:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("say which file holds the check")
	}
	check, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var object any
	if err := json.NewDecoder(in).Decode(&object); err != nil {
		return fmt.Errorf("read the object: %w", err)
	}
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	for name, open := range map[string]lua.LGFunction{lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		if err := l.CallByParam(lua.P{Fn: l.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	l.SetContext(ctx)
	l.SetGlobal("obj", value(l, object))
	if err := l.DoString(string(check)); err != nil {
		return err
	}
	table, ok := l.Get(-1).(*lua.LTable)
	if !ok {
		return fmt.Errorf("the check returns a %s and no table", l.Get(-1).Type())
	}
	_, err = fmt.Fprintf(out, "%s\t%s\n", lua.LVAsString(table.RawGetString("status")), lua.LVAsString(table.RawGetString("message")))
	return err
}

func value(l *lua.LState, v any) lua.LValue {
	switch v := v.(type) {
	case bool:
		return lua.LBool(v)
	case float64:
		return lua.LNumber(v)
	case string:
		return lua.LString(v)
	case []any:
		t := l.CreateTable(len(v), 0)
		for _, e := range v {
			t.Append(value(l, e))
		}
		return t
	case map[string]any:
		t := l.CreateTable(0, len(v))
		for k, e := range v {
			t.RawSetString(k, value(l, e))
		}
		return t
	}
	return lua.LNil
}
