-- Each radiograph that comes to Orthanc goes to cxrtool too. Its results are of other modalities
-- (SR, OT, PR): they are not sent round in a circle.
function OnStoredInstance(instanceId, tags, metadata, origin)
  if tags['Modality'] == 'DX' or tags['Modality'] == 'CR' then
    SendToModality(instanceId, 'cxrtool')
  end
end
