"""All pages of the admin: a folder per section of its navigation.

rudderhub.admin.pages registers them.
"""
