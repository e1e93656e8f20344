"""A client of boto3 that speaks the query protocol with SQS, as SDKs did before they had the JSON one.

boto3's model of SQS has forgotten the names that the members have in that protocol; they are those of the API's old WSDL.
"""

import copy

# The names of a list's items or of a map's entries, by shape.
ITEMS = {
    "AttributeNameList": "AttributeName",
    "MessageAttributeNameList": "MessageAttributeName",
    "MessageSystemAttributeList": "MessageSystemAttributeName",
    "AWSAccountIdList": "AWSAccountId",
    "ActionNameList": "ActionName",
    "TagKeyList": "TagKey",
    "QueueUrlList": "QueueUrl",
    "MessageList": "Message",
    "SendMessageBatchRequestEntryList": "SendMessageBatchRequestEntry",
    "SendMessageBatchResultEntryList": "SendMessageBatchResultEntry",
    "DeleteMessageBatchRequestEntryList": "DeleteMessageBatchRequestEntry",
    "DeleteMessageBatchResultEntryList": "DeleteMessageBatchResultEntry",
    "ChangeMessageVisibilityBatchRequestEntryList": "ChangeMessageVisibilityBatchRequestEntry",
    "ChangeMessageVisibilityBatchResultEntryList": "ChangeMessageVisibilityBatchResultEntry",
    "BatchResultErrorEntryList": "BatchResultErrorEntry",
    "ListMessageMoveTasksResultEntryList": "ListMessageMoveTasksResultEntry",
    "BinaryList": "BinaryListValue",
    "StringList": "StringListValue",
}
# A map's name, and those of its keys and values, by shape.
MAPS = {
    "QueueAttributeMap": ("Attribute", "Name", "Value"),
    "MessageSystemAttributeMap": ("Attribute", "Name", "Value"),
    "MessageBodyAttributeMap": ("MessageAttribute", "Name", "Value"),
    "MessageBodySystemAttributeMap": ("MessageSystemAttribute", "Name", "Value"),
    "TagMap": ("Tag", "Key", "Value"),
}


def query_client(account):
    """A client of `account` that speaks the query protocol."""
    loader = account.session._session.get_component("data_loader")
    loads = loader.load_service_model

    def load(service, kind, **version):
        model = loads(service, kind, **version)
        return query_model(model) if (service, kind) == ("sqs", "service-2") else model

    loader.load_service_model = load
    try:
        return account.client("sqs")
    finally:
        loader.load_service_model = loads


def query_model(model):
    """The model of SQS with the query protocol and its names."""
    model = copy.deepcopy(model)
    model["metadata"].update(protocol="query", protocols=["query"])
    model["metadata"].pop("awsQueryCompatible", None)
    for name, operation in model["operations"].items():
        if "output" in operation:
            operation["output"]["resultWrapper"] = f"{name}Result"
    shapes = model["shapes"]
    for name, item in ITEMS.items():
        shapes[name]["member"]["locationName"] = item
    for name, (_, key, value) in MAPS.items():
        shapes[name]["key"]["locationName"] = key
        shapes[name]["value"]["locationName"] = value
    for shape in shapes.values():
        for member in shape.get("members", {}).values():
            if member["shape"] in MAPS:
                member["locationName"] = MAPS[member["shape"]][0]
    return model
