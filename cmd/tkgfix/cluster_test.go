package main

import (
	"context"
	"os"

	"github.com/rogpeppe/go-internal/testscript"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tkgfix/tkgfix/api/v1alpha1"
	"github.com/tkgfix/tkgfix/internal/kube/planetest"
	"github.com/tkgfix/tkgfix/internal/state"
	"github.com/tkgfix/tkgfix/internal/state/file"
	"github.com/tkgfix/tkgfix/internal/state/kube"
)

// clusters is the value under which a script keeps its API server.
type clusters struct{}

type server struct{ *planetest.Plane }

// start starts the script's API server at the first call, and lets $KUBECONFIG name it.
func (s *server) start(ts *testscript.TestScript) {
	if s.Plane != nil {
		return
	}
	var err error
	s.Plane, err = planetest.Start(planetest.Options{})
	ts.Check(err)
	ts.Defer(s.Stop)
	data, err := s.Admin("alice")
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs("kubeconfig"), data, 0o600))
	ts.Setenv("KUBECONFIG", ts.MkAbs("kubeconfig"))
}

// cluster NAME makes a Run NAME in namespace team-a that has the journal of $RUN, as if a controller had carried it out, and sets $ID to its
// id. $KUBECONFIG then names its API server.
func cluster(ts *testscript.TestScript, _ bool, args []string) {
	s := ts.Value(clusters{}).(*server)
	s.start(ts)
	ctx := context.Background()
	scheme := runtime.NewScheme()
	ts.Check(v1alpha1.AddToScheme(scheme))
	ts.Check(corev1.AddToScheme(scheme))
	config, err := s.Config("controller")
	ts.Check(err)
	c, err := client.New(config, client.Options{Scheme: scheme})
	ts.Check(err)
	ts.Check(client.IgnoreAlreadyExists(c.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "team-a"}})))
	run := &v1alpha1.Run{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: args[0]}}
	run.Spec.Requester, run.Spec.Workflow = "alice", &v1alpha1.WorkflowReference{Name: "make"}
	ts.Check(c.Create(ctx, run))

	entries, err := file.New(ts.Getenv("TKGFIX_STATE")).Read(ctx, ts.Getenv("RUN"), 1)
	ts.Check(err)
	store := kube.New(kube.Options{Client: c, Namespace: "team-a"})
	for _, e := range entries {
		_, err := store.Append(ctx, v1alpha1.RunID(run), e.Seq, state.Draft{Time: e.Time, Kind: e.Kind, Data: e.Data})
		ts.Check(err)
	}
	ts.Setenv("ID", v1alpha1.RunID(run))
}

// annotated NAME KEY prints an annotation of a Run.
func annotated(ts *testscript.TestScript, _ bool, args []string) {
	c, err := ts.Value(clusters{}).(*server).Client("reader")
	ts.Check(err)
	run := &metav1.PartialObjectMetadata{}
	run.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Run"))
	ts.Check(c.Get(context.Background(), client.ObjectKey{Namespace: "team-a", Name: args[0]}, run))
	_, err = ts.Stdout().Write([]byte(run.Annotations[args[1]] + "\n"))
	ts.Check(err)
}
