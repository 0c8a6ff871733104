"""The control plane: Application Auto Scaling's API for SageMaker, and Quickstep's additions to it.

`api.handle` carries out one operation. `entries` and `custom_resources` are the ways in: direct invoke, function URL and
CloudFormation. Requests never change a count themselves: they change the registry, and the look does the rest.
"""
