-- Argo CD's health of a Microservice. In the ConfigMap argocd-cm, this file is the value of
-- resource.customizations.health.microservice-operator.dev_Microservice
local health = { status = "Progressing", message = "the operator has not seen this generation yet" }
local status = obj.status
if status == nil or status.conditions == nil or status.observedGeneration ~= obj.metadata.generation then
  return health
end

local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition.status
end

health.message = status.message or ""
if conditions["Stalled"] == "True" or status.phase == "Degraded" then
  health.status = "Degraded"
elseif conditions["Paused"] == "True" then
  health.status = "Suspended"
elseif conditions["Ready"] == "True" then
  health.status = "Healthy"
end
return health
