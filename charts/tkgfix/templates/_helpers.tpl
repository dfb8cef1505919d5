{{/*
The labels of every object: those of config/default, and none of Helm's own, so that both ways make the same objects.
*/}}
{{- define "tkgfix.labels" -}}
app.kubernetes.io/name: tkgfix
{{- end }}

{{/*
What a Service, a disruption budget and a Deployment select.
*/}}
{{- define "tkgfix.selector" -}}
app.kubernetes.io/name: tkgfix
app.kubernetes.io/component: controller
{{- end }}

{{/*
The objects in the files that match a pattern, with the labels of every object and more annotations. The files are copies of those in
config/, which `make manifests` writes: a chart cannot reach out of its folder.
Given: root, the chart's context; pattern; annotations.
*/}}
{{- define "tkgfix.objects" -}}
{{- $labels := include "tkgfix.labels" .root | fromYaml }}
{{- range $path, $bytes := .root.Files.Glob .pattern }}
{{- range $doc := splitList "\n---\n" (toString $bytes) }}
{{- $object := fromYaml $doc }}
{{- $_ := mustMergeOverwrite $object (dict "metadata" (dict "labels" $labels)) }}
{{- with $.annotations }}
{{- $_ := mustMergeOverwrite $object (dict "metadata" (dict "annotations" .)) }}
{{- end }}
---
{{ toYaml $object }}
{{- end }}
{{- else }}
{{- fail (printf "the chart has no files %s: run make manifests" .pattern) }}
{{- end }}
{{- end }}

{{- define "tkgfix.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}
