{{/* The labels of all objects: `include "crm-admission.labels" (list . "server")`. */}}
{{- define "crm-admission.labels" -}}
app.kubernetes.io/name: crm-admission
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/part-of: crm-admission
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The selector of the pods. It is immutable. */}}
{{- define "crm-admission.selector" -}}
app.kubernetes.io/name: crm-admission
app.kubernetes.io/component: server
{{- end }}

{{/* The clientConfig of a webhook: `include "crm-admission.client" (list . "/mutate")`. */}}
{{- define "crm-admission.client" -}}
{{- $root := index . 0 -}}
clientConfig:
  service:
    namespace: {{ $root.Release.Namespace }}
    name: crm-admission
    port: 443
    path: {{ index . 1 }}
  {{- with $root.Values.tls.caBundle }}
  caBundle: {{ . }}
  {{- end }}
{{- end }}

{{/*
The annotations of a webhook configuration. For cert-manager, one tells which CA to write to `caBundle`. With self-managed
certificates, the program writes it. `include "crm-admission.annotations" (list . (dict "more" "annotations"))`.
*/}}
{{- define "crm-admission.annotations" -}}
{{- $root := index . 0 -}}
{{- $annotations := merge (dict) (index . 1) $root.Values.registration.annotations -}}
{{- if eq $root.Values.tls.mode "cert-manager" -}}
{{- $_ := set $annotations "cert-manager.io/inject-ca-from" (printf "%s/crm-admission" $root.Release.Namespace) -}}
{{- end -}}
{{- with $annotations -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end }}

{{/* Not empty if extraArgs says where to listen. */}}
{{- define "crm-admission.listens" -}}
{{- range .Values.extraArgs -}}
{{- if or (hasPrefix "--listen=" .) (eq "--listen" .) -}}yes{{- end -}}
{{- end -}}
{{- end }}

{{/* The rules for Milo's notes; empty without them. manifests/components/milo gives the reasons. */}}
{{- define "crm-admission.milo-rules" -}}
{{- if .Values.milo.enabled -}}
- apiGroups: [notes.miloapis.com]
  apiVersions: [v1alpha1]
  resources: [clusternotes]
  operations: [CREATE, UPDATE]
  scope: Cluster
- apiGroups: [notes.miloapis.com]
  apiVersions: [v1alpha1]
  resources: [notes]
  operations: [CREATE, UPDATE]
  scope: Namespaced
{{- end -}}
{{- end }}
