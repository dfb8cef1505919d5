package nodelook

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/google/go-cmp/cmp"
)

const regToml = "/etc/containerd/certs.d/reg.lab/hosts.toml"

func TestReadHostsFile(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		text   string
		want   HostsFile
	}{
		"Order": {
			reason: "hosts are asked in the order of the file, the server last",
			text:   "server = \"https://reg.lab\"\n[host.\"https://z.lab\"]\n  capabilities = [\"pull\", \"Resolve\"]\n[host.\"https://z.lab\".header]\n  x = \"hunter2\"\n[host.\"a.lab:5000/v2/x\"]\n  override_path = true\n",
			want: HostsFile{Server: "https://reg.lab", Hosts: []Host{
				{URL: "https://z.lab", Capabilities: []string{"pull", "Resolve"}}, {URL: "https://a.lab:5000/v2/x", OverridePath: true}, {URL: "https://reg.lab"},
			}},
		},
		"Trust": {
			reason: "paths begin at the file's folder; client takes pairs",
			text:   "ca = [\"ca.crt\", \"/etc/x.pem\"]\nskip_verify = true\n[host.\"https://m.lab\"]\n  ca = \"../m.crt\"\n  client = [[\"c.pem\", \"c.key\"], \"both.pem\"]\n",
			want: HostsFile{Hosts: []Host{
				{URL: "https://m.lab", CA: []string{"/etc/containerd/certs.d/m.crt"}, Client: []string{"/etc/containerd/certs.d/reg.lab/c.pem", "/etc/containerd/certs.d/reg.lab/both.pem"}},
				{CA: []string{"/etc/containerd/certs.d/reg.lab/ca.crt", "/etc/x.pem"}, SkipVerify: true},
			}},
		},
		"Login":      {reason: "credentials in a URL are not kept", text: "server = \"https://u:hunter2@m.lab/v2?t=hunter2#hunter2\"\n", want: HostsFile{Server: "https://m.lab/v2", Hosts: []Host{{URL: "https://m.lab/v2"}}}},
		"Empty":      {reason: "nothing said", text: "# only words\n", want: HostsFile{Hosts: []Host{{}}}},
		"NoTOML":     {reason: "the place and never the content", text: "server = \"https://m.lab\"\nhunter2 hunter2\n", want: HostsFile{Fault: "line 2, column 9 is not what containerd takes"}},
		"WrongType":  {reason: "a type that containerd refuses", text: "skip_verify = \"hunter2\"\n", want: HostsFile{Fault: "line 1, column 15 is not what containerd takes"}},
		"Capability": {reason: "so it does with a word that it does not know", text: "capabilities = [\"fly\"]\n", want: HostsFile{Fault: "it has the capability fly, which containerd does not know"}},
		"CANumber":   {reason: "a path is text", text: "ca = 7\n", want: HostsFile{Fault: "ca is neither a path nor a list of paths"}},
		"CAPairs":    {reason: "only client has pairs", text: "ca = [[\"a\", \"b\"]]\n", want: HostsFile{Fault: "ca is neither a path nor a list of paths"}},
		"Triple":     {reason: "and a pair is two", text: "client = [[\"a\", \"b\", \"c\"]]\n", want: HostsFile{Fault: "client is neither a path nor a list of paths"}},
		"Header":     {reason: "a header that containerd refuses", text: "[header]\n  x = 7\n", want: HostsFile{Fault: "one of its headers is neither a string nor a list of strings"}},
		"URL":        {reason: "a host that is none", text: "[host.\"https://%zz\"]\n", want: HostsFile{Fault: "one of its hosts is no URL"}},
		"Huge":       {reason: "bounded", text: strings.Repeat("#", 64<<10+1), want: HostsFile{Fault: "it is larger than 65536 bytes"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.want.Path, c.want.Registry = regToml, "reg.lab"
			got := readHostsFile(regToml, []byte(c.text))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", c.reason, diff)
			}
		})
	}
}

// TestDeepTOML nests as deep as the bound allows, which a parser that calls itself must survive.
func TestDeepTOML(t *testing.T) {
	t.Parallel()
	const key = "ca = "
	if got := readHostsFile(regToml, []byte(key+strings.Repeat("[", maxTOML-len(key)))); got.Fault == "" {
		t.Errorf("want a fault, got %+v", got)
	}
}

// TestAsContainerd reads files with containerd's own code and with ours: who is asked, in which order, and which files are refused.
func TestAsContainerd(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"Order":      "server = \"https://reg.lab\"\n[host.\"https://z.lab\"]\n  capabilities = [\"pull\"]\n[host.\"https://z.lab\".header]\n  x = \"y\"\n[host.\"a.lab:5000\"]\n  override_path = true\n",
		"NoServer":   "[host.\"http://m.lab\"]\n",
		"Login":      "server = \"https://u:p@m.lab/v2\"\n",
		"Quotes":     "[ host . 'https://q.lab' ]\nskip_verify = false\n[host.\"https://p.lab\"]\n",
		"Comments":   "# server = \"https://no.lab\"\n[host.\"https://p.lab\"] # yes\n",
		"WrongType":  "skip_verify = \"yes\"\n",
		"Capability": "capabilities = [\"fly\"]\n",
		"NoTOML":     "server = https://m.lab\n",
		"Header":     "server = \"https://m.lab\"\n[header]\n  x = 7\n",
		"Twice":      "server = \"https://a.lab\"\nserver = \"https://b.lab\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := tree(t, map[string]string{regToml: text})
			hosts := config.ConfigureHosts(t.Context(), config.HostOptions{HostDir: config.HostDirFromRoot(filepath.Join(root, "/etc/containerd/certs.d"))})
			theirs, err := hosts("reg.lab")
			if err != nil {
				t.Fatal(err)
			}
			var want, got []string
			for _, h := range theirs {
				want = append(want, h.Scheme+"://"+h.Host)
			}
			ours := readHostsFile(regToml, []byte(text))
			if ours.Fault != "" {
				ours.Hosts = []Host{{}} // containerd passes over such a file
			}
			for _, h := range ours.Hosts {
				u, err := url.Parse(map[bool]string{true: "https://reg.lab", false: h.URL}[h.URL == ""])
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, u.Scheme+"://"+u.Host)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-containerd, +ours (fault %q):\n%s", ours.Fault, diff)
			}
		})
	}
}

func TestReadHosts(t *testing.T) {
	t.Parallel()
	file := func(path, text string) File { return File{Path: path, Data: []byte(text)} }
	const (
		v1       = "[plugins.cri.registry.mirrors.\"docker.io\"]\n  endpoint = [\"https://m.lab\"]\n"
		v2       = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"/etc/containerd/certs.d\"\n"
		v3       = "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\n  config_path = '/etc/containerd/certs.d:/etc/docker/certs.d'\n"
		plain    = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"pause\"\n"
		oldStyle = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"reg.lab\"]\n  endpoint = [\"https://m.lab:5000\", \"http://n.lab\"]\n" +
			"[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"m.lab:5000\".tls]\n  ca_file = \"/etc/containerd/m.crt\"\n  cert_file = \"/c.pem\"\n" +
			"[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"reg.lab\".tls]\n  insecure_skip_verify = true\n" +
			"[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"reg.lab\".auth]\n  password = \"hunter2\"\n"
	)
	toml := file(regToml, "server = \"https://m.lab\"\n[host.\"https://n.lab\"]\n")
	parsed := HostsFile{Path: regToml, Registry: "reg.lab", Server: "https://m.lab", Hosts: []Host{{URL: "https://n.lab"}, {URL: "https://m.lab"}}}
	alone := file(regToml, "server = \"https://m.lab\"\n")
	unused := parsed
	unused.Unused = true
	cases := map[string]struct {
		reason  string
		release string
		files   []File
		want    []HostsFile
		config  RegistryConfig
	}{
		"Path2":    {reason: "config_path leads there", files: []File{file(configFile, v2), toml}, want: []HostsFile{parsed}, config: RegistryConfig{Found: true, ConfigPath: []string{"/etc/containerd/certs.d"}}},
		"Path3":    {reason: "of several folders", files: []File{file(configFile, v3), toml}, want: []HostsFile{parsed}, config: RegistryConfig{Found: true, ConfigPath: []string{"/etc/containerd/certs.d", "/etc/docker/certs.d"}}},
		"NoPath17": {reason: "without config_path containerd 1.7 does not look there", release: "1.7.27", files: []File{file(configFile, plain), toml}, want: []HostsFile{unused}, config: RegistryConfig{Found: true}},
		"NoPath22": {reason: "and 2.2 does", release: "2.2.1", files: []File{file(configFile, plain), toml}, want: []HostsFile{parsed}, config: RegistryConfig{Found: true}},
		"NoConfig": {reason: "what was not seen says nothing", release: "1.7.27", files: []File{toml}, want: []HostsFile{parsed}},
		"Imports":  {reason: "another file may say it", release: "1.7.27", files: []File{file(configFile, "imports = [\"/etc/containerd/conf.d/*.toml\"]\n"+plain), toml}, want: []HostsFile{parsed}, config: RegistryConfig{Found: true, Imports: true}},
		"Alone17": {
			reason: "a file without a [host] is none to containerd 1", release: "1.7.27", files: []File{alone},
			want: []HostsFile{{Path: regToml, Registry: "reg.lab", Server: "https://m.lab", Fault: "containerd 1 takes no hosts.toml without a [host] table"}},
		},
		"Alone20":  {reason: "and one to containerd 2", release: "2.0.5", files: []File{alone}, want: []HostsFile{{Path: regToml, Registry: "reg.lab", Server: "https://m.lab", Hosts: []Host{{URL: "https://m.lab"}}}}},
		"Broken":   {reason: "the place and never the content", files: []File{file(configFile, "version = hunter2\n")}, config: RegistryConfig{Found: true, Fault: "line 1, column 11 is not what containerd takes"}},
		"Mirrors1": {reason: "version 1", files: []File{file(configFile, v1)}, want: []HostsFile{{Path: configFile, Registry: "docker.io", Hosts: []Host{{URL: "https://m.lab"}, {}}}}, config: RegistryConfig{Found: true, Mirrors: true}},
		"OldStyle": {
			reason: "mirrors first, then the registry itself; tls by the host that is asked", files: []File{file(configFile, oldStyle)}, config: RegistryConfig{Found: true, Mirrors: true, TLS: true},
			want: []HostsFile{
				{Path: configFile, Registry: "m.lab:5000", Hosts: []Host{{CA: []string{"/etc/containerd/m.crt"}, Client: []string{"/c.pem"}}}},
				{Path: configFile, Registry: "reg.lab", Hosts: []Host{{URL: "https://m.lab:5000", CA: []string{"/etc/containerd/m.crt"}, Client: []string{"/c.pem"}}, {URL: "http://n.lab"}, {SkipVerify: true}}},
			},
		},
		"Docker": {
			reason: "certificates without a hosts.toml, in a folder whose name has no colon", files: []File{file("/etc/containerd/certs.d/reg.lab_5000_/ca.crt", "x"), file("/etc/containerd/certs.d/reg.lab_5000_/other.pem", "x")},
			want: []HostsFile{{Path: "/etc/containerd/certs.d/reg.lab_5000_", Registry: "reg.lab:5000", Hosts: []Host{{CA: []string{"/etc/containerd/certs.d/reg.lab_5000_/ca.crt"}}}}},
		},
		"Fallback": {
			reason: "a hosts.toml that containerd cannot read: it goes by the certificates beside it", files: []File{file(regToml, "x"), file("/etc/containerd/certs.d/reg.lab/ca.crt", "x")},
			want: []HostsFile{{Path: regToml, Registry: "reg.lab", Fault: "line 1, column 1 is not what containerd takes", Hosts: []Host{{CA: []string{"/etc/containerd/certs.d/reg.lab/ca.crt"}}}}},
		},
		"EmptyToml": {
			reason: "an empty one is as none", files: []File{file(regToml, ""), file("/etc/containerd/certs.d/reg.lab/ca.crt", "x")},
			want: []HostsFile{{Path: "/etc/containerd/certs.d/reg.lab", Registry: "reg.lab", Hosts: []Host{{CA: []string{"/etc/containerd/certs.d/reg.lab/ca.crt"}}}}},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			look := Look{runtime: c.files, Containerd: Containerd{Release: c.release}}
			look.readHosts()
			if diff := cmp.Diff(c.want, look.Hosts); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", c.reason, diff)
			}
			if diff := cmp.Diff(c.config, look.Config); diff != "" {
				t.Errorf("%s: config.toml: -want, +got:\n%s", c.reason, diff)
			}
		})
	}
}

func TestHostsFor(t *testing.T) {
	t.Parallel()
	at := func(folder string) HostsFile {
		return HostsFile{Path: "/etc/containerd/certs.d/" + folder + "/hosts.toml"}
	}
	cases := map[string]struct {
		reason   string
		registry string
		hosts    []HostsFile
		want     int
	}{
		"Exact":    {reason: "of its own", registry: "reg.lab:5000", hosts: []HostsFile{at("reg.lab"), at("_default"), at("reg.lab:5000")}, want: 2},
		"NoColon":  {reason: "this one is looked for first", registry: "reg.lab:5000", hosts: []HostsFile{at("reg.lab:5000"), at("reg.lab_5000_")}, want: 1},
		"Default":  {reason: "for all without one", registry: "reg.lab:5000", hosts: []HostsFile{at("other.lab"), at("_default")}, want: 1},
		"Port443":  {reason: "an image names the port or not", registry: "reg.lab:443", hosts: []HostsFile{at("reg.lab")}, want: 0},
		"NoPort":   {reason: "nor does it have to", registry: "reg.lab", hosts: []HostsFile{at("reg.lab:443")}, want: 0},
		"Unused":   {reason: "nothing leads there", registry: "reg.lab", hosts: []HostsFile{{Path: regToml, Unused: true}}, want: -1},
		"None":     {reason: "another port is another registry", registry: "reg.lab:5000", hosts: []HostsFile{at("reg.lab")}, want: -1},
		"Wildcard": {reason: "of the old style", registry: "reg.lab", hosts: []HostsFile{{Path: configFile, Registry: "*"}}, want: 0},
		"Old":      {reason: "by the name in config.toml", registry: "reg.lab", hosts: []HostsFile{{Path: configFile, Registry: "*"}, {Path: configFile, Registry: "reg.lab"}}, want: 1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := Look{Hosts: c.hosts}.HostsFor(c.registry)
			if ok != (c.want >= 0) {
				t.Fatalf("%s: got %v, %+v", c.reason, ok, got)
			}
			if ok && !cmp.Equal(c.hosts[c.want], got) {
				t.Errorf("%s: got %+v", c.reason, got)
			}
		})
	}
}

func TestCAFiles(t *testing.T) {
	t.Parallel()
	look := Look{
		runtime: []File{{Path: "/etc/containerd/certs.d/reg.lab/ca.crt", Data: []byte("ca")}}, Unreadable: []string{"/etc/containerd/certs.d/reg.lab/secret.crt"},
		Hosts: []HostsFile{{Path: regToml}},
	}
	h := Host{CA: []string{"/etc/containerd/certs.d/reg.lab/ca.crt", "/etc/elsewhere.crt", "/etc/containerd/certs.d/reg.lab/gone.crt", "/etc/containerd/certs.d/reg.lab/secret.crt"}}
	read, rest := look.CAFiles(h)
	if diff := cmp.Diff(map[string][]byte{h.CA[0]: []byte("ca")}, read); diff != "" {
		t.Errorf("read: -want, +got:\n%s", diff)
	}
	if diff := cmp.Diff(h.CA[1:], rest); diff != "" {
		t.Errorf("others: -want, +got:\n%s", diff)
	}
	got := map[string]bool{}
	for _, p := range rest {
		got[p] = look.Missing(p)
	}
	if diff := cmp.Diff(map[string]bool{h.CA[1]: false, h.CA[2]: true, h.CA[3]: false}, got); diff != "" {
		t.Errorf("missing: -want, +got:\n%s", diff)
	}
}

func TestContainerdVersion(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason       string
		line         string
		release, go_ string
	}{
		"Upstream": {reason: "as upstream prints it", line: "containerd github.com/containerd/containerd v1.7.27 05044ec0a9a75232cad458027ca83437aae3f4da", release: "1.7.27", go_: "1.21"},
		"Patch":    {reason: "a patch release with another go line", line: "containerd github.com/containerd/containerd v1.7.35 0a0a", release: "1.7.35", go_: "1.25"},
		"Between":  {reason: "a release within a range", line: "containerd github.com/containerd/containerd v1.7.29 x", release: "1.7.29", go_: "1.23"},
		"Docker":   {reason: "as Docker's packages do", line: "containerd containerd.io 1.6.20 2806fc1057397dbaeefbea0e4e17bddfbd388f38", release: "1.6.20", go_: "1.17"},
		"Debian":   {reason: "with a suffix", line: "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u1", release: "1.6.20", go_: "1.17"},
		"VMware":   {reason: "with VMware's", line: "containerd github.com/containerd/containerd v1.6.24+vmware.2 abc", release: "1.6.24", go_: "1.19"},
		"Two":      {reason: "version 2", line: "containerd github.com/containerd/containerd/v2 v2.1.8 abc", release: "2.1.8", go_: "1.24"},
		"Later":    {reason: "a later release of a known series", line: "containerd x v2.2.40 abc", release: "2.2.40", go_: "1.25"},
		"Earlier":  {reason: "an earlier one than those that are known", line: "containerd x v2.3.0 abc", release: "2.3.0"},
		"Unknown":  {reason: "a series that nobody knows yet", line: "containerd x v3.0.0 abc", release: "3.0.0"},
		"Said":     {reason: "what it says itself counts", line: "containerd x v1.7.27 abc go1.22.7", release: "1.7.27", go_: "1.22"},
		"Revision": {reason: "a revision is no release", line: "containerd x 1.2.3.4 abc"},
		"Nothing":  {reason: "no containerd", line: ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got Containerd
			got.readVersion(c.line)
			if diff := cmp.Diff(Containerd{Version: c.line, Release: c.release, Go: c.go_}, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", c.reason, diff)
			}
			if got.Before("1.0") || got.Before("1.99") != (c.go_ != "") {
				t.Errorf("%s: Go %s before 1.0: %v, before 1.99: %v", c.reason, got.Go, got.Before("1.0"), got.Before("1.99"))
			}
		})
	}
}

func TestFamily(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"ID=photon\n": Photon, "ID=ubuntu\nID_LIKE=debian\n": Ubuntu, "ID=\"rhel\"\nID_LIKE=\"fedora\"\n": RHEL, "ID=\"almalinux\"\n": RHEL,
		"ID=new\nID_LIKE=\"rhel centos fedora\"\n": RHEL, "ID=flatcar\n": OtherFamily, "": OtherFamily,
	} {
		if got := family([]byte(text)); got != want {
			t.Errorf("%q: want %s, got %s", text, want, got)
		}
	}
	want := map[string][2]string{
		Photon: {"/etc/ssl/certs/tkg-a.pem", "/etc/pki/tls/certs/ca-bundle.crt"}, Ubuntu: {"/usr/local/share/ca-certificates/tkg-a.crt", "/etc/ssl/certs/ca-certificates.crt"},
		RHEL: {"/etc/pki/ca-trust/source/anchors/tkg-a.pem", "/etc/pki/tls/certs/ca-bundle.crt"}, OtherFamily: {"/etc/ssl/certs/tkg-a.pem", ""},
	}
	got := map[string][2]string{}
	for f := range want {
		l := Look{Family: f}
		got[f] = [2]string{l.TrustPath("a"), l.BundlePath()}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}

func FuzzHosts(f *testing.F) {
	f.Add("server = \"https://u:p@m.lab\"\n[host.\"x\"]\nca = [\"a\"]\nclient = [[\"a\", \"b\"]]\n[host.\"x\".header]\na = [\"b\"]\n")
	f.Add("[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"a\"]\nendpoint = [\"http://\\u001b\"]\n")
	f.Add("[plugins.cri.registry]\nconfig_path = \"/a:/\\u001b\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		look := Look{runtime: []File{{Path: regToml, Data: []byte(text)}, {Path: configFile, Data: []byte(text)}}}
		look.readHosts()
		for _, shown := range append(texts(look), look.Config.Fault) {
			if !plain(shown) {
				t.Errorf("a text that speaks to the terminal: %q", shown)
			}
		}
	})
}
