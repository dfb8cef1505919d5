package tkg

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// secretField are the names of fields that hold a credential itself. One that names a Secret holds an object, and does not count.
var secretField = regexp.MustCompile(`(?i)(password|passwd|passphrase|token|private[-_]?key|secret[-_]?key|api[-_]?key|client[-_]?secret|encryptionConfigYaml)$`)

// credential returns the path of the first string that is a credential, empty if there is none: a URL with a user or password in it, a
// private key, or the value of a field whose name says so.
func credential(v any, path string) string {
	switch v := v.(type) {
	case map[string]any:
		// The item of a list of variables says by its name what its value is.
		name, _ := v["name"].(string)
		if value, _ := v["value"].(string); value != "" && secretField.MatchString(name) {
			return path + ".value"
		}
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			if where := credential(v[k], strings.TrimPrefix(path+"."+k, ".")); where != "" {
				return where
			}
		}
	case []any:
		for i, item := range v {
			if where := credential(item, fmt.Sprintf("%s[%d]", path, i)); where != "" {
				return where
			}
		}
	case string:
		if hasUserinfo(v, strings.Contains(strings.ToLower(path), "proxy")) || v != "" && secretField.MatchString(path) || HasPrivateKey(v) {
			return path
		}
	}
	return ""
}

// hasUserinfo tells whether s carries a user or password. In a proxy setting anything with an @ does, with or without a scheme.
func hasUserinfo(s string, proxy bool) bool {
	if !strings.Contains(s, "@") {
		return false
	}
	if proxy {
		return true
	}
	if !strings.Contains(s, "://") {
		return false
	}
	u, err := url.Parse(strings.TrimSpace(s))
	if err != nil { // not readable as one URL: look at what stands between :// and the next slash
		_, after, _ := strings.Cut(s, "://")
		authority, _, _ := strings.Cut(after, "/")
		return strings.Contains(authority, "@")
	}
	return u.User != nil
}

// HasPrivateKey tells whether a text holds the PEM of a private key, as it is or under as many layers of base64 as Decode takes off.
func HasPrivateKey(s string) bool {
	at := []byte(s)
	for range maxLayers + 1 {
		if strings.Contains(string(at), "PRIVATE KEY-----") {
			return true
		}
		out, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(at)), ""))
		if err != nil || len(out) == 0 {
			return false
		}
		at = out
	}
	return false
}
