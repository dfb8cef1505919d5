package kube

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"

	"github.com/tkgfix/tkgfix/plugins"
)

// Explain adds to an error of an API server what to do about it, and sorts it: what may pass is plugins.KindTransient. The
// error stays in the chain, so apierrors.IsNotFound and its like still hold. Every method of Client has applied it already.
func Explain(err error) error {
	if err == nil || plugins.HintOf(err) != "" {
		return err
	}
	err = clean(err)
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case apierrors.IsUnauthorized(err):
		return plugins.Hint(err, "the login is missing or over (a Supervisor's token lasts about 10 hours); log in again, and then go on: "+
			"kubectl vsphere login --server=SUPERVISOR --vsphere-username=USER")
	case apierrors.IsForbidden(err):
		return forbidden(err)
	case apierrors.IsTooManyRequests(err), apierrors.IsServerTimeout(err), apierrors.IsTimeout(err),
		apierrors.IsServiceUnavailable(err), apierrors.IsInternalError(err):
		return plugins.WithKind(plugins.KindTransient, err)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return plugins.Hint(err, "the kubeconfig's CA did not sign the certificate of this API server; log in again to get the present one")
	}
	return network(err)
}

// refusal is how the API server words what is not allowed.
var refusal = regexp.MustCompile(`cannot (\w+) resource "([^"]+)" in API group "([^"]*)"(?: in the namespace "([^"]+)")?`)

func forbidden(err error) error {
	m := refusal.FindStringSubmatch(err.Error())
	if m == nil {
		return err // an admission webhook says no, and why
	}
	resource := m[2]
	if m[3] != "" {
		resource += "." + m[3]
	}
	ask := fmt.Sprintf("kubectl auth can-i %s %s", m[1], resource)
	if m[4] != "" {
		ask += " -n " + m[4]
	}
	if strings.HasPrefix(resource, "tkgserviceconfigurations.") {
		// tkg-facts.md §5: roles of a vSphere Namespace do not cover the cluster-wide object.
		return plugins.Hint(err, "TkgServiceConfiguration needs vSphere administrator privileges; log in as one, and check with: %s", ask)
	}
	return plugins.Hint(err, "log in as someone who may, and check with: %s", ask)
}

func network(err error) error {
	u, ok := errors.AsType[*url.Error](err)
	if !ok {
		return err
	}
	if strings.Contains(u.Err.Error(), "getting credentials: exec") {
		return plugins.Hint(err, "the credential plugin of the kubeconfig's user did not answer; try it with: kubectl get --raw /version")
	}
	_, isOp := errors.AsType[*net.OpError](u.Err)
	_, isDNS := errors.AsType[*net.DNSError](u.Err)
	if !isOp && !isDNS && !u.Timeout() && !utilnet.IsProbableEOF(u) && !utilnet.IsConnectionReset(u) &&
		!utilnet.IsHTTP2ConnectionLost(u) && !errors.Is(u, io.ErrUnexpectedEOF) {
		return err
	}
	return plugins.Hint(plugins.WithKind(plugins.KindTransient, err),
		"no answer from the API server %s; see that this machine reaches it: kubectl get --raw /version", hostPort(u.URL))
}

// redactedError is an error whose text held a credential.
type redactedError struct {
	text string
	err  error
}

func (r *redactedError) Error() string { return r.text }
func (r *redactedError) Unwrap() error { return r.err }

// clean takes credentials in URLs out of the text and keeps the chain.
func clean(err error) error {
	text := err.Error()
	if c := userinfo.ReplaceAllString(text, "://REDACTED@"); c != text {
		return &redactedError{text: c, err: err}
	}
	return err
}
